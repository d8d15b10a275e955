"""Certificates of webhooks: an authority of their own, in a Secret that all replicas share.

Whoever is first creates it; the others read it, and follow it.  It is renewed while it is in
use: first the bundle that API servers believe gets a new authority beside the old one, then,
``overlap`` later, the server a certificate of the new, then the old authority leaves the
bundle.  So there is no moment in which a call fails.

Nothing is written to a disk.  The key of the authority is in the Secret because any replica may
have to renew; who may read Secrets in the operator's namespace may serve its webhooks.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cove.client import Backoff, Client, Clock, Informer, SystemClock, UnreachableError
from cove.client._tasks import Tasks
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time
from cove.operator.errors import EntityError
from cove.pki import Pair, serving_context

if TYPE_CHECKING:
    from cove.pki.authority import Authority

__all__ = ["Certificates", "Keys", "Lifetimes"]

Doc = dict[str, Any]
log = logging.getLogger("cove.operator.webhooks")
SECRETS = GVR("", "v1", "secrets")
CHANGED = "webhooks.cove.dev/changed"
MANAGED_BY = "app.kubernetes.io/managed-by"
# However long nothing is due: a machine that slept has to notice.
_LOOK = timedelta(days=1)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long certificates hold; both are renewed when a third of their life is left.

    ``overlap`` is how long an authority is in the bundle before something is signed by it, and
    after nothing is any more: API servers and other replicas have to have heard of it.
    """

    authority: timedelta = timedelta(days=3 * 365)
    certificate: timedelta = timedelta(days=90)
    overlap: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if not self.authority > self.certificate > self.overlap * 3 > timedelta():
            raise EntityError(
                f"lifetimes: authority {self.authority} > certificate {self.certificate} > "
                f"3 × overlap {self.overlap} > 0 does not hold"
            )


class Keys(NamedTuple):
    """What the Secret holds: authorities (PEM, the newest first), the newest one's key, the pair.

    ``changed`` is when it was written.
    """

    authorities: tuple[bytes, ...]
    key: bytes
    pair: Pair
    changed: datetime

    @property
    def bundle(self) -> bytes:
        """Whom API servers have to believe, PEM."""
        return b"".join(self.authorities)

    @classmethod
    def read(cls, secret: Doc, now: datetime) -> Keys:
        """Of a Secret; raises ValueError for one that cannot be served with."""
        from cove.pki.authority import Authority

        data = secret.get("data") or {}
        try:
            chain, pair, key = (
                base64.b64decode(data["ca.crt"], validate=True),
                Pair(*(base64.b64decode(data[k], validate=True) for k in ("tls.crt", "tls.key"))),
                base64.b64decode(data["ca.key"], validate=True),
            )
        except (KeyError, TypeError, binascii.Error) as e:
            raise ValueError(f"{e} is not there, or no base64") from e
        authorities = tuple(match[0].rstrip() + b"\n" for match in _PEM.finditer(chain))
        if not authorities:
            raise ValueError("ca.crt has no certificate")
        Authority.load(Pair(authorities[0], key))
        try:
            serving_context(pair)
        except ssl.SSLError as e:
            raise ValueError(f"tls.crt and tls.key are no pair: {e}") from e
        stamp = (secret["metadata"].get("annotations") or {}).get(CHANGED, "")
        try:
            changed = parse_time(stamp) if stamp else now
        except ValueError:
            changed = now
        return cls(authorities, key, pair, min(changed, now))

    def write(self, secret: Doc) -> Doc:
        """A Secret that holds them, otherwise as it was."""
        metadata = {**secret["metadata"]}
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            CHANGED: format_time(self.changed),
        }
        data = {
            "ca.crt": self.bundle,
            "ca.key": self.key,
            "tls.crt": self.pair.certificate,
            "tls.key": self.pair.key,
        }
        return {
            **secret,
            "metadata": metadata,
            "data": {k: base64.b64encode(v).decode() for k, v in data.items()},
        }


class Certificates:
    """Entered: there are certificates for ``names`` and they are kept good.

    ``secret`` is (namespace, name); None keeps everything in this process.  ``operator`` names
    who made them.  The client is the caller's.
    """

    def __init__(
        self,
        operator: str,
        names: Sequence[str],
        *,
        client: Client | None = None,
        secret: tuple[str, str] | None = None,
        lifetimes: Lifetimes | None = None,
        clock: Clock | None = None,
    ) -> None:
        if secret is not None and client is None:
            raise ValueError("a Secret needs a client")
        self._operator = operator
        self._names = tuple(dict.fromkeys(_canonical(name) for name in names))
        self._client = client
        self._secret = secret
        self._life = lifetimes or Lifetimes()
        self._clock = clock or SystemClock()
        self._keys: Keys | None = None
        self._live: Doc | None = None
        self._handlers: list[Callable[[], None]] = []
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stack = AsyncExitStack()

    @property
    def keys(self) -> Keys:
        """What is in use now."""
        assert self._keys is not None, "not entered"
        return self._keys

    def add_handler(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` whenever there are other keys."""
        self._handlers.append(handler)

    async def __aenter__(self) -> Self:
        await self.refresh()
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(Tasks())
            if self._secret is not None and self._client is not None:
                namespace, name = self._secret
                informer = Informer(
                    self._client,
                    SECRETS,
                    namespace=namespace,
                    field_selector=f"metadata.name={name}",
                    clock=self._clock,
                )
                informer.add_handler(self._seen)
                # What was gone before the first list is in no event.
                informer.add_state_handler(self._wake.set)
                await stack.enter_async_context(informer)
            tasks.start("certificates of webhooks", self._keep())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # -- the Secret

    async def refresh(self) -> None:
        """Have what is in the Secret now, putting it there if nothing usable is."""
        async with self._lock:
            await self._refresh()

    async def _refresh(self) -> None:
        if self._secret is None or self._client is None:
            while (made := self._due()) is not None:
                self._adopt(made)
            return
        namespace, name = self._secret
        while True:
            try:
                self._live = await self._client.get(SECRETS, name, namespace)
            except StatusError as e:
                if e.code != 404:
                    raise
                self._live = None
            good = self._live is not None and self._load(self._live)
            made = self._due()
            if made is None and good:
                return
            # What is in use is good; somebody removed or spoilt what was in the Secret.
            await self._put(made or self.keys)

    async def _put(self, keys: Keys) -> None:
        """Write, if nobody else has; who was second reads what the first wrote."""
        assert self._client is not None
        assert self._secret is not None
        namespace, name = self._secret
        empty = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {MANAGED_BY: self._operator},
            },
        }
        try:
            if self._live is None:
                written = await self._client.create(
                    SECRETS, keys.write(empty), namespace, field_manager=self._operator
                )
            else:
                written = await self._client.update(
                    SECRETS, keys.write(self._live), namespace, field_manager=self._operator
                )
        except StatusError as e:
            if e.code == 404 and self._live is not None:
                return
            if e.code != 409:
                raise
            log.debug("%s/%s: somebody was faster", namespace, name)
            return
        log.info("certificates of webhooks are in secret %s/%s", namespace, name)
        self._live = written
        self._load(written)

    def _load(self, secret: Doc) -> bool:
        """Use what a Secret holds; False if that is nothing usable."""
        try:
            found = Keys.read(secret, self._clock.now())
        except ValueError as e:
            log.warning("secret %s: %s; it is written anew", "/".join(self._secret or ()), e)
            return False
        self._adopt(found)
        return True

    def _seen(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """The Secret as a watch shows it; it may be behind what was read or written here."""
        if new is None or self._live is None or _newer(new, self._live):
            self._wake.set()

    def _adopt(self, keys: Keys) -> None:
        before, self._keys = self._keys, keys
        if before is not None and (before.bundle, before.pair) != (keys.bundle, keys.pair):
            for handler in self._handlers:
                handler()

    # -- renewal

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            timer = self._clock.call_later(self._delay(), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()
            try:
                await self.refresh()
            except (StatusError, UnreachableError) as e:
                log.warning("certificates of webhooks: %s", e)
                await self._clock.sleep(backoff.delay())
                self._wake.set()
            else:
                backoff.reset()

    def _delay(self) -> float:
        """Seconds until something is due, or until it is worth looking."""
        soonest = min((when for when, _ in self._plan()), default=None)
        left = _LOOK if soonest is None else min(soonest - self._clock.now(), _LOOK)
        return max(left.total_seconds(), 0.0) + 0.001

    def _plan(self) -> list[tuple[datetime, Callable[[], Keys]]]:
        """When what is due: another certificate, another authority, an authority less."""
        from cove.pki.requests import certificate_names, expiry

        keys, life = self.keys, self._life
        authority = self._authority()
        settled = keys.changed + life.overlap
        plan: list[tuple[datetime, Callable[[], Keys]]] = []
        ends = expiry(keys.pair.certificate)
        ours = authority.signed(keys.pair.certificate)
        if not set(self._names) <= set(certificate_names(keys.pair.certificate)):
            plan.append((keys.changed, self._renew_certificate))
        elif not ours:
            plan.append((min(settled, ends), self._renew_certificate))
        elif ends < authority.expiry:
            plan.append((ends - life.certificate / 3, self._renew_certificate))
        if len(keys.authorities) == 1:
            plan.append((authority.expiry - life.authority / 3, self._renew_authority))
        elif ours:
            plan.append((settled, self._drop_authorities))
        return plan

    def _due(self) -> Keys | None:
        """What to have instead of what there is now, None for nothing."""
        now = self._clock.now()
        if self._keys is None or self._authority().expiry <= now:
            return self._new()
        for when, make in self._plan():
            if when <= now:
                return make()
        return None

    def _authority(self) -> Authority:
        from cove.pki.authority import Authority

        return Authority.load(Pair(self.keys.authorities[0], self.keys.key))

    def _new_authority(self) -> Authority:
        from cove.pki.authority import Authority

        now = self._clock.now()
        # Another name for each: TLS libraries look authorities up by it.
        name = f"{self._operator} webhooks {now:%Y%m%dT%H%M%S.%fZ}"
        return Authority.new(name[-64:], life=self._life.authority, now=now)

    def _pair(self, authority: Authority, more: Sequence[str] = ()) -> Pair:
        return authority.server(
            dict.fromkeys((*self._names, *more)),
            life=self._life.certificate,
            now=self._clock.now(),
            common_name=f"{self._operator} webhooks"[:64],
        )

    def _new(self) -> Keys:
        authority = self._new_authority()
        return Keys(
            (authority.certificate,), authority.pair.key, self._pair(authority), self._clock.now()
        )

    def _renew_certificate(self) -> Keys:
        from cove.pki.requests import certificate_names

        known = certificate_names(self.keys.pair.certificate)
        pair = self._pair(self._authority(), known)
        return self.keys._replace(pair=pair, changed=self._clock.now())

    def _renew_authority(self) -> Keys:
        authority = self._new_authority()
        return self.keys._replace(
            authorities=(authority.certificate, *self.keys.authorities),
            key=authority.pair.key,
            changed=self._clock.now(),
        )

    def _drop_authorities(self) -> Keys:
        return self.keys._replace(authorities=self.keys.authorities[:1], changed=self._clock.now())


def _canonical(name: str) -> str:
    try:
        return str(ip_address(name.strip("[]")))
    except ValueError:
        return name.lower()


def _newer(one: Doc, other: Doc) -> bool:
    """Whether a document is another, later one; versions of API servers since 1.35 are ordered."""
    a, b = one["metadata"], other["metadata"]
    if a.get("uid") != b.get("uid"):
        return True
    old, new = b.get("resourceVersion", ""), a.get("resourceVersion", "")
    if old.isdigit() and new.isdigit():
        return int(new) > int(old)
    return bool(new != old)
