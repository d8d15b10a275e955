"""Webhooks: an operator's webhooks at work, as one thing to enter and leave."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from cove.client import Client, Clock, SystemClock
from cove.operator.errors import EntityError
from cove.operator.runtime.inject import Providers
from cove.operator.webhooks.admission import Admission
from cove.operator.webhooks.certificates import Certificates, Lifetimes
from cove.operator.webhooks.configurations import ClientConfig
from cove.operator.webhooks.hub import conversions
from cove.operator.webhooks.reach import find_url, wait_known
from cove.operator.webhooks.registration import Registration
from cove.operator.webhooks.server import Answering, Served, WebhookServer

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["Webhooks"]

log = logging.getLogger("cove.operator.webhooks")
# Names by which containers know the machine they run on.
_MACHINE = ("host.docker.internal", "host.containers.internal", "host.k3d.internal")
PORT = 9443


class Webhooks:
    """``async with Webhooks(op, client) as hooks``: they are served, and registered.

    ``service`` is (namespace, name) of the Service that leads here, in a cluster: the
    certificates are in a Secret, by default ``{operator}-webhooks`` beside the Service, and the
    registration stays when this ends.  Without one this is a developer's process: the API
    server calls ``base_url``, or what it reaches of this machine where that is None; nothing is
    kept in a Secret unless ``secret`` says where, and the registration ends with this.

    ``tunnel`` says that ``base_url`` is answered by somebody whose certificate the API server
    knows.  ``host`` None listens at all addresses for a Service, at 127.0.0.1 otherwise;
    ``port`` None is 9443 for a Service, else that of ``base_url``, else any free one.
    ``probe`` False believes ``base_url`` without asking.  ``providers`` None are the operator's,
    entered and left here; others are the caller's, as the client always is.

    Leaving it, reviews that are being answered have ``grace`` seconds.  Raises WebhookError,
    UnreachableWebhooksError among them, and StatusError.
    """

    def __init__(
        self,
        operator: Operator,
        client: Client,
        *,
        service: tuple[str, str] | None = None,
        service_port: int = 443,
        base_url: str | None = None,
        tunnel: bool = False,
        probe: bool = True,
        secret: tuple[str, str] | None = None,
        host: str | None = None,
        port: int | None = None,
        providers: Providers | None = None,
        lifetimes: Lifetimes | None = None,
        clock: Clock | None = None,
        grace: float = 30.0,
        served: Served | None = None,
    ) -> None:
        if service is not None and (base_url is not None or tunnel):
            raise EntityError("webhooks are reached by a service or by a base_url, not by both")
        parts = urlsplit(base_url or "https://127.0.0.1")
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise EntityError(f"base_url {base_url!r}: API servers call https://host[:port]")
        if tunnel and base_url is None:
            raise EntityError("a tunnel has a base_url: give the address where it begins")
        if service is not None and secret is None:
            secret = (service[0], f"{operator.name}-webhooks")
        self.operator = operator
        self.base_url = (base_url or "").rstrip("/")
        self.host = host or ("0.0.0.0" if service else "127.0.0.1")
        self.port = PORT if service else (0 if tunnel else parts.port or 0)
        if port is not None:
            self.port = port
        self._client = client
        self._service = service
        self._service_port = service_port
        self._tunnel = tunnel
        self._probe = probe
        self._given = providers
        self._clock = clock or SystemClock()
        self._grace = grace
        self._served = served
        self._certificates = Certificates(
            operator.name,
            _names(service) if service else _addresses(parts.hostname, self.host),
            client=client,
            secret=secret,
            lifetimes=lifetimes,
            clock=self._clock,
        )
        self._stack = AsyncExitStack()

    @property
    def client_config(self) -> ClientConfig:
        """How the API server reaches them, with the bundle of now."""
        bundle = b"" if self._tunnel else self._certificates.keys.bundle
        if self._service is not None:
            return ClientConfig(service=self._service, port=self._service_port, ca_bundle=bundle)
        return ClientConfig(url=self.base_url, ca_bundle=bundle)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            routes = await self._routes(stack)
            if not routes:
                await self._register(stack)
                self._stack = stack.pop_all()
                return self
            await stack.enter_async_context(self._certificates)
            server = WebhookServer(
                routes,
                self._certificates.keys.pair,
                host=self.host,
                port=self.port,
                grace=self._grace,
                served=self._served,
            )
            self._certificates.add_handler(lambda: server.use(self._certificates.keys.pair))
            await stack.enter_async_context(server)
            self.port = server.port
            if self._service is None:
                self.base_url = await self._url(server)
            await self._register(stack)
            if self._service is None and self._probe:
                kinds = ["validate"] if self.operator.validators else []
                kinds += ["mutate"] if self.operator.mutators else []
                await wait_known(
                    self._client, self.operator.name, server, self.client_config, kinds
                )
            self._stack = stack.pop_all()
        log.info("webhooks of %s listen at %s:%d", self.operator.name, self.host, self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _routes(self, stack: AsyncExitStack) -> dict[str, Answering]:
        specs = (*self.operator.validators, *self.operator.mutators)
        routes: dict[str, Answering] = {c.path: c for c in conversions(self.operator.converters)}
        if specs:
            providers = self._given
            if providers is None:
                providers = await stack.enter_async_context(self.operator.providers())
                providers.value(Client, self._client)
            for spec in specs:
                admission = Admission(spec, providers)
                await admission.prepare()
                routes[spec.path] = admission
        return routes

    async def _url(self, server: WebhookServer) -> str:
        urls = [self.base_url] if self.base_url else _urls(self.host, self.port)
        if not self._probe:
            return urls[0]
        bundle = b"" if self._tunnel else self._certificates.keys.bundle
        return await find_url(self._client, self.operator.name, server, urls, bundle)

    async def _register(self, stack: AsyncExitStack) -> None:
        registration = Registration(
            self.operator,
            self._client,
            lambda: self.client_config,
            development=self._service is None,
            refresh=self._certificates.refresh,
            clock=self._clock,
        )
        self._certificates.add_handler(registration.wake)
        await stack.enter_async_context(registration)


def _names(service: tuple[str, str]) -> list[str]:
    namespace, name = service
    host = f"{name}.{namespace}.svc"
    return [host, name, f"{name}.{namespace}", f"{host}.cluster.local", "localhost", "127.0.0.1"]


def _addresses(hostname: str, host: str) -> list[str]:
    own = _machine() if _wildcard(host) else [host]
    return [hostname, "localhost", "127.0.0.1", "::1", *own]


def _urls(host: str, port: int) -> Sequence[str]:
    """Where this process may be reached from the API server's point of view."""
    names = ["127.0.0.1", *_machine()] if _wildcard(host) else [host]
    return [f"https://{f'[{name}]' if ':' in name else name}:{port}" for name in names]


def _machine() -> list[str]:
    """Names by which containers may know this machine, and the address it has among others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: it is asked by which of its addresses the machine would.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return [*_MACHINE]
        return [*_MACHINE, str(probe.getsockname()[0])]


def _wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
