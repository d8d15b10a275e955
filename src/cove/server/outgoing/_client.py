"""Outgoing: the connections of a cluster to the servers it asks.

One pool for all of them, made when the first is called.  Addresses of pods and services
exist only as far as nodes run something behind them: as long as nobody claims one, it is
refused here, at the socket, whatever led to it (a URL, a name, a redirect).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.server.outgoing._errors import CallError, SimulatedError, reason
from cove.server.outgoing._services import ResolveError, resolve
from cove.server.outgoing._target import Service, Target
from cove.server.outgoing._tls import Trust, context_for

if TYPE_CHECKING:
    import ssl

    from aiohttp import ClientResponse, ClientSession

    from cove.pki import Pair
    from cove.server.api import Api

__all__ = ["Answer", "Claims", "Outgoing"]

# Seconds an unused connection is kept for the next call.
KEEPALIVE = 90.0
# The longest answer taken, in bytes: a review of a long list, with room.
ANSWER_LIMIT = 64 * 1024 * 1024
REDIRECTS = 10
_CONTEXTS = 128

Claims = Callable[[IPv4Address | IPv6Address], bool]


def nobody(_address: IPv4Address | IPv6Address) -> bool:
    """No address of the cluster is served by anything."""
    return False


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    content_type: str
    body: bytes


class Outgoing:
    """HTTPS calls; close it with :meth:`aclose` when nobody calls any more.

    ``simulated`` are the cluster's own subnets.  :attr:`claimed` is asked about every
    address in them before it is connected to: a node runtime that really listens there
    sets it; by default nothing is claimed.
    """

    def __init__(self, simulated: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self.claimed: Claims = nobody
        # What extension servers know this one by; None: nothing.
        self.identity: Pair | None = None
        self._simulated = tuple(simulated)
        self._session: ClientSession | None = None
        self._contexts: dict[Trust, ssl.SSLContext] = {}
        self._turns: dict[Service, int] = {}

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def reachable(self, host: str) -> bool:
        """Whether an address may be connected to; names are judged when they are resolved."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return True
        mapped = getattr(address, "ipv4_mapped", None) or address
        return self.claimed(mapped) or not any(mapped in subnet for subnet in self._simulated)

    def resolve(self, api: Api, service: Service) -> tuple[str, int]:
        """(host, port) of a service's next endpoint, in turn; raises ResolveError."""

        def next_of(count: int) -> int:
            turn = self._turns.get(service, 0)
            self._turns[service] = turn + 1
            return turn % count

        return resolve(api, service, next_of)

    def context(self, trust: Trust) -> ssl.SSLContext:
        """The TLS context for a trust, kept; raises :class:`CallError`."""
        found = self._contexts.get(trust)
        if found is None:
            try:
                found = context_for(trust)
            except ValueError as e:
                raise CallError(str(e)) from e
            if len(self._contexts) >= _CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            self._contexts[trust] = found
        return found

    def session(self) -> ClientSession:
        """The pool; redirects are not followed unless asked."""
        if self._session is None:
            import aiohttp

            from cove.client._connector import Connector

            connector = Connector(limit=0, keepalive_timeout=KEEPALIVE, socket_factory=self._socket)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                raise_for_status=False,
            )
        return self._session

    def _socket(self, place: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, address = place
        if not self.reachable(str(address[0])):
            raise SimulatedError
        return socket.socket(family, kind, protocol)

    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]],
        trust: Trust,
        body: bytes = b"",
    ) -> ClientResponse:
        """An answer as it begins, not redirected; close it.  Raises :class:`CallError`."""
        from multidict import CIMultiDict
        from yarl import URL

        try:
            return await self.session().request(
                method,
                URL(url, encoded=True),
                data=body or None,
                headers=CIMultiDict(headers),
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                ssl=self.context(trust),
                server_hostname=trust.server_name or None,
                allow_redirects=False,
            )
        except TimeoutError:
            raise
        except Exception as e:
            raise CallError(reason(e, _host_of(url), trust.server_name)) from e

    async def post(
        self, api: Api, target: Target, body: bytes, *, timeout: float, query: str = ""
    ) -> Answer:
        """POST a JSON document, following redirects as Go does.

        ``timeout`` is in seconds, for everything.  Raises :class:`CallError` naming the
        method and the URL.
        """
        url = f"{target.url}?{query}" if query else target.url
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, */*",
            "Accept-Encoding": "identity",
            "User-Agent": "kube-apiserver-admission",
        }
        host = ""
        try:
            async with asyncio.timeout(timeout):
                place = url
                if target.service is not None:
                    address, port = self.resolve(api, target.service)
                    place, headers["Host"] = _at(url, address, port)
                host = _host_of(place)
                async with self.session().post(
                    place,
                    data=body,
                    headers=headers,
                    ssl=self.context(target.trust),
                    server_hostname=target.trust.server_name or None,
                    max_redirects=REDIRECTS,
                ) as response:
                    return await _whole(response)
        except (ResolveError, CallError) as e:
            raise CallError(f'Post "{url}": {e}') from e
        except Exception as e:
            name = target.trust.server_name or host.rpartition(":")[0]
            raise CallError(f'Post "{url}": {reason(e, host, name)}') from e


def _at(url: str, address: str, port: int) -> tuple[str, str]:
    """(the URL at an endpoint's address, the host it is asked for)."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    shown = f"[{address}]" if ":" in address else address
    return f"{scheme}://{shown}:{port}{slash}{path}", host


def _host_of(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0]
    return host if ":" in host.rpartition("]")[2] else f"{host}:443"


async def _whole(response: ClientResponse) -> Answer:
    content = response.content
    chunks: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > ANSWER_LIMIT:
            raise CallError(f"the answer is longer than {ANSWER_LIMIT} bytes")
        chunks.append(chunk)
    kind = response.headers.get("Content-Type", "")
    return Answer(response.status, kind, b"".join(chunks))
