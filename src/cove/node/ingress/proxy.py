"""IngressProxy: Caddy, kept equal to the cluster's Ingresses.

What changes is gathered for a moment, then the whole configuration is made anew and, if it
differs, loaded.  Endpoints are not part of it (see :mod:`cove.node.ingress._names`).

Source: https://kubernetes.io/docs/concepts/services-networking/ingress/
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cove.client import (
    Backoff,
    Client,
    Clock,
    Informers,
    Recorder,
    SystemClock,
    Tasks,
    UnreachableError,
)
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.kube.status import StatusError
from cove.node.ingress._culprits import culprits
from cove.node.ingress._names import Names
from cove.node.ingress._sockets import ListenError, listen
from cove.node.ingress.backends import Backends
from cove.node.ingress.caddy import Caddy, CaddyError, RefusedError
from cove.node.ingress.certificates import Issuer, assign
from cove.node.ingress.classes import ensure_class
from cove.node.ingress.configuration import Settings, base, configuration
from cove.node.ingress.routes import oldest, routes
from cove.node.ingress.status import Statuses
from cove.node.ingress.view import View, asked, has_resource_backend
from cove.pki.authority import Authority

__all__ = ["DOMAIN", "IngressProxy"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]

DOMAIN = "cove.localhost"
COMPONENT = "cove-ingress"
# Seconds in which changes are gathered, and between looks at what certificates end soon.
GATHER = 0.02
CERTIFICATES = 12 * 3600.0


class IngressProxy:
    """Serves the cluster's Ingresses on this machine: ``async with IngressProxy(client, …)``.

    Entering returns when what is there is served; leaving ends Caddy and removes what it
    kept in ``folder``.  Objects stay as they are.

    ``informers`` None makes its own.  ``authority`` is asked when the first certificate is
    signed.  ``addresses`` are listened on.  ``http_port`` and ``https_port`` None take 80
    and 443 if they can be had and else any free port; 0 any free one; the attributes of
    those names say which.  On ``inside``, addresses that only pods know, it is 80 and 443 as well.  ``domains`` get certificates for all names below them.
    ``claims`` says of a pod's address whether it is real; all others are never dialled.

    Raises CaddyError without a Caddy, ListenError for a port that is taken.
    """

    def __init__(
        self,
        client: Client,
        *,
        authority: Callable[[], Authority],
        folder: Path,
        informers: Informers | None = None,
        addresses: Sequence[str] = ("127.0.0.1",),
        inside: Sequence[str] = (),
        http_port: int | None = None,
        https_port: int | None = None,
        domains: Sequence[str] = (DOMAIN,),
        claims: Callable[[str], bool] = lambda _: True,
        binary: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.domains = tuple(domains)
        self.http_port = http_port or 0
        self.https_port = https_port or 0
        self._wanted_ports = (http_port, https_port)
        self._client = client.named(COMPONENT)
        self._informers = informers
        self._addresses = tuple(addresses)
        self._inside = tuple(inside)
        self._folder = folder
        self._claims = claims
        self._binary = binary
        self._clock = clock or SystemClock()
        self._issuer = Issuer(authority, self.domains)
        self._names = Names()
        self._recorder = Recorder(self._client, COMPONENT, clock=self._clock)
        self._dirty = asyncio.Event()
        self._busy = False
        self._settled = asyncio.Condition()
        self._loaded: Doc | None = None
        # What Caddy refused, as it was then; what was told of each Ingress last.
        self._refused: dict[str, Doc] = {}
        self._told: dict[str, set[tuple[str, str]]] = {}
        self._class: Doc | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._recorder)
            await stack.enter_async_context(self._names)
            sockets = []
            for port, usual in zip(self._wanted_ports, (80, 443), strict=True):
                made = listen(self._addresses, port, usual)
                if made[0].getsockname()[1] != usual:
                    made += self._usual(usual)
                for one in made:
                    stack.callback(one.close)
                sockets.append(made)
            self.http_port, self.https_port = (s[0].getsockname()[1] for s in sockets)
            self._caddy = Caddy(
                self._folder,
                lambda admin, storage: base(self._settings(admin, storage, sockets)),
                [one for some in sockets for one in some],
                died=self._died,
                revived=self._revived,
                binary=self._binary,
                clock=self._clock,
            )
            await stack.enter_async_context(self._caddy)
            self._settings_now = self._settings(
                f"unix/{self._caddy.socket.absolute()}|0600",
                str(self._caddy.folder / "storage"),
                sockets,
            )
            self._statuses = Statuses(
                self._client, self._addresses[0], self.http_port, self.https_port
            )
            self._class = await ensure_class(self._client)
            informers = self._informers
            if informers is None:
                informers = await stack.enter_async_context(
                    Informers(self._client, clock=self._clock)
                )
            self._view = await stack.enter_async_context(View(informers, self._dirty.set))
            self._dirty.set()
            tasks = await stack.enter_async_context(Tasks())
            tasks.start("ingress", self._run())
            tasks.start("ingress certificates", self._renew())
            await self.settled()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _usual(self, port: int) -> list[socket.socket]:
        """The port that everybody expects, where it is asked for and can be had."""
        try:
            return listen(self._inside, port, port) if self._inside else []
        except ListenError as e:
            log.warning("pods reach the ingress at port %d only: %s", self.http_port or port, e)
            return []

    def _settings(self, admin: str, storage: str, sockets: list[Any]) -> Settings:
        http, https = ([f"fd/{one.fileno()}" for one in some] for some in sockets)
        return Settings(
            admin, storage, http, https, self.http_port, self.https_port, self._names.address
        )

    @property
    def pid(self) -> int | None:
        """Caddy's process, None while there is none."""
        return self._caddy.pid

    @property
    def quiet(self) -> bool:
        """Whether everything that is known is served and told."""
        return not self._dirty.is_set() and not self._busy and self._recorder.quiet

    async def settled(self) -> None:
        """Return when all changes that were seen so far are served."""
        async with self._settled:
            await self._settled.wait_for(lambda: not self._dirty.is_set() and not self._busy)

    # -- applying

    async def _run(self) -> None:
        backoff = Backoff(0.2, 15.0)
        while True:
            await self._dirty.wait()
            self._busy = True
            self._dirty.clear()
            await self._clock.sleep(GATHER)
            try:
                await self._update()
                backoff.reset()
            except (CaddyError, StatusError, UnreachableError) as e:
                log.warning("ingresses are not served as they are: %s", e)
                await self._clock.sleep(backoff.delay())
                self._dirty.set()
            except Exception:
                # The boundary of one attempt: what is served stays.
                log.exception("ingresses are not served as they are")
                await self._clock.sleep(backoff.delay())
                self._dirty.set()
            self._busy = False
            async with self._settled:
                self._settled.notify_all()

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(CERTIFICATES)
            self._dirty.set()

    async def _update(self) -> None:
        ours, others = self._view.ingresses()
        for key, before in tuple(self._refused.items()):
            if key not in ours or asked(ours[key]) != before:
                del self._refused[key]
        faults: list[tuple[str, str, str]] = []
        config, table = self._render([i for k, i in ours.items() if k not in self._refused], faults)
        self._names.table = table
        if config != self._loaded:
            try:
                await self._caddy.load(config)
            except RefusedError as e:
                await self._isolate(ours, str(e))
                config, table = self._render(
                    [i for k, i in ours.items() if k not in self._refused], faults
                )
                await self._caddy.load(config)
            self._loaded = config
        self._tell(ours, faults)
        served = [i for k, i in ours.items() if k not in self._refused]
        refused = [i for k, i in ours.items() if k in self._refused]
        await self._statuses.write(served, others + refused)

    def _render(
        self, ingresses: list[Doc], faults: list[tuple[str, str, str]]
    ) -> tuple[Doc, dict[str, tuple[str, ...]]]:
        faults.clear()
        backends = Backends(self._view.service, self._view.slices, self._claims)
        hosts = routes(ingresses, backends)
        certificates, broken = assign(
            ingresses, self._view.secret, self._issuer, self.domains, datetime.now(UTC)
        )
        faults += [(key, "BadCertificate", text) for key, text in broken]
        for ingress in ingresses:
            if has_resource_backend(ingress):
                faults.append(
                    (
                        key_of(ingress),
                        "Unsupported",
                        "resource backends are not supported, only services: requests for "
                        "them are answered 503",
                    )
                )
        self._view.used = backends.used
        return configuration(hosts, certificates, self._settings_now), backends.table

    async def _isolate(self, ours: dict[str, Doc], reason: str) -> None:
        """Find whose part of the configuration Caddy refuses; the others go on."""

        async def refusal(some: list[Doc]) -> str:
            return await self._caddy.refusal(self._render(some, [])[0])

        found = await culprits(
            oldest(i for k, i in ours.items() if k not in self._refused), refusal
        )
        if not found:
            raise CaddyError(f"caddy refuses the configuration: {reason}")
        for ingress, text in found:
            self._refused[key_of(ingress)] = asked(ingress)
            self._event(ingress, "Refused", f"this Ingress is not served: {text}")

    # -- telling

    def _event(self, ingress: Doc, reason: str, message: str) -> None:
        involved = reference(ingress, "networking.k8s.io/v1", "Ingress")
        self._recorder.event(involved, "Warning", reason, message)

    def _tell(self, ours: dict[str, Doc], faults: list[tuple[str, str, str]]) -> None:
        """Tell what was not told before."""
        now: dict[str, set[tuple[str, str]]] = {}
        for key, reason, message in faults:
            now.setdefault(key, set()).add((reason, message))
            if (reason, message) not in self._told.get(key, ()):
                self._event(ours[key], reason, message)
        self._told = now

    def _died(self, why: str) -> None:
        log.warning("%s", why)
        if self._class is not None:
            involved = reference(self._class, "networking.k8s.io/v1", "IngressClass")
            self._recorder.event(
                involved, "Warning", "ProxyDied", f"{why}; it is being started again"
            )

    def _revived(self) -> None:
        self._loaded = None
        self._dirty.set()
