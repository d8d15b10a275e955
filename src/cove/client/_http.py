"""HttpTransport: an API server reached over HTTP(S), with kept-alive connections."""

from __future__ import annotations

import socket as socket_module
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from socket import IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import orjson

from cove.client._transport import Answer, Stream
from cove.client.errors import KubeconfigError, UnreachableError
from cove.client.kubeconfig import Connection
from cove.kube.status import StatusError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpTransport", "tls_context"]

# Upstream's clients keep no more idle connections than this to one host either.
CONNECTIONS = 100
CONNECT_TIMEOUT = 10.0
# Seconds that a server has to answer the goodbye of a WebSocket.
GOODBYE = 2.0
# Seconds of silence until a server is asked for a sign of life: Go's default.
ALIVE = 15


class HttpTransport:
    """A pool of connections to the server of a :class:`Connection`.

    ``timeout`` bounds one whole request in seconds (streams only their connecting); None
    for no limit.  Close it, or use it as an async context manager.
    """

    def __init__(self, connection: Connection, *, timeout: float | None = 60.0) -> None:
        self.connection = connection
        self._timeout = timeout
        self._base = connection.server.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        # Streams keep their connections for minutes: they must not use up those of requests.
        self._streams: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpTransport:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _new(self, limit: int) -> aiohttp.ClientSession:
        """A session of at most ``limit`` connections, 0 for any number."""
        import aiohttp

        from cove.client._connector import Connector

        context: ssl.SSLContext | bool = True
        if self._base.startswith("https:"):
            context = tls_context(self.connection)
        connector: aiohttp.BaseConnector
        if self.connection.unix_socket:
            connector = aiohttp.UnixConnector(self.connection.unix_socket, limit=limit)
        else:
            connector = Connector(limit=limit, ssl=context, socket_factory=_socket)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self.connection.proxy_url or None,
            raise_for_status=_refused,
            # A body whose type nobody has said is JSON to an API server, as it is sent.
            skip_auto_headers=("Content-Type",),
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._new(CONNECTIONS)
        return self._session

    def _open_streams(self) -> aiohttp.ClientSession:
        if self._streams is None:
            self._streams = self._new(0)
        return self._streams

    async def _headers(self, headers: Mapping[str, str] | None) -> MutableMapping[str, str]:
        out: MutableMapping[str, str]
        if hasattr(headers, "getall"):
            # A header may be there more than once: Impersonate-Group.
            from multidict import CIMultiDict

            out = CIMultiDict(headers or {})
        else:
            out = dict(headers or {})
        authorization = await self.connection.authorization()
        if authorization:
            out.setdefault("Authorization", authorization)
        out.update(self.connection.impersonation)
        return out

    def _url(self, path: str, query: str) -> Any:
        from yarl import URL

        return URL(f"{self._base}{path}?{query}" if query else self._base + path, encoded=True)

    def _extra(self) -> dict[str, Any]:
        name = self.connection.tls_server_name
        return {"server_hostname": name} if name else {}

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send and await the whole answer."""
        import aiohttp

        sent = await self._headers(headers)
        session = self._open()
        try:
            async with session.request(
                method,
                self._url(path, query),
                data=body or None,
                headers=sent,
                allow_redirects=False,
                **self._extra(),
            ) as response:
                return Answer(response.status, _headers(response), await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as e:
            raise UnreachableError(f"{method} {self._base}{path}: {_reason(e)}") from e

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """Send and read the answer as it comes."""
        import aiohttp

        sent = await self._headers(headers)
        session = self._open_streams()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
        try:
            response = await session.request(
                method,
                self._url(path, query),
                headers=sent,
                timeout=timeout,
                allow_redirects=False,
                **self._extra(),
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as e:
            raise UnreachableError(f"{method} {self._base}{path}: {_reason(e)}") from e
        try:
            yield Stream(response.status, _headers(response), self._chunks(response, path))
        finally:
            # A stream is left, not drained: its connection cannot be used again.
            response.close()

    async def _chunks(self, response: aiohttp.ClientResponse, path: str) -> AsyncIterator[bytes]:
        import aiohttp

        try:
            async for chunk in response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError, OSError) as e:
            raise UnreachableError(f"{self._base}{path}: {_reason(e)}") from e

    @asynccontextmanager
    async def websocket(
        self,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        protocols: tuple[str, ...] = (),
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """An open WebSocket, as exec, attach and port-forward need it.

        Raises StatusError with the server's words when it refuses.  Left normally it says
        goodbye; left by an exception its connection is cut.
        """
        import aiohttp

        sent = await self._headers(headers)
        try:
            socket = await self._open_streams().ws_connect(
                self._url(path, query),
                protocols=protocols,
                headers=sent,
                max_msg_size=0,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE),
                **self._extra(),
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as e:
            raise UnreachableError(f"{self._base}{path}: {_reason(e)}") from e
        try:
            _keep_alive(socket)
            yield socket
            await socket.close()
        except BaseException:
            _cut(socket)
            raise

    async def close(self) -> None:
        """Close the connections."""
        sessions = (self._session, self._streams)
        self._session = self._streams = None
        for session in sessions:
            if session is not None:
                await session.close()


async def _refused(response: aiohttp.ClientResponse) -> None:
    """Of a WebSocket that the server does not open aiohttp tells the code alone."""
    if response.request_info.headers.get("Upgrade") != "websocket" or response.status == 101:
        return
    body = await response.read()
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode(errors="replace").strip() or f"the server answered {response.status}"
        doc = {"message": text}
    raise StatusError.from_body(response.status, doc if isinstance(doc, dict) else {})


def _keep_alive(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Have the kernel ask now and then whether a silent server is still there.

    Pings of the WebSocket would wait behind what a slow pod has not taken yet.
    """
    raw = socket.get_extra_info("socket")
    if raw is not None:
        _ask_now_and_then(raw)


def _socket(address: tuple[Any, ...]) -> socket_module.socket:
    """A socket whose kernel asks now and then whether a silent server is still there."""
    family, kind, protocol, *_ = address
    made = socket_module.socket(family, kind, protocol)
    made.setblocking(False)
    _ask_now_and_then(made)
    return made


def _ask_now_and_then(raw: Any) -> None:
    raw.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
        # The second is what macOS calls the first.
        if hasattr(socket_module, name):
            raw.setsockopt(IPPROTO_TCP, getattr(socket_module, name), ALIVE)


def _cut(socket: aiohttp.ClientWebSocketResponse) -> None:
    """End a WebSocket's connection at once: neither it nor TLS wait for an answer."""
    connection = socket._response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    socket._response.close()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def tls_context(connection: Connection) -> ssl.SSLContext:
    """What a connection's certificates amount to; raises KubeconfigError for unusable ones."""
    context = ssl.create_default_context()
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif connection.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=connection.ca.decode())
        except (ssl.SSLError, ValueError) as e:
            raise KubeconfigError(
                connection.origin, "certificate-authority", f"not a PEM certificate: {e}"
            ) from e
    if connection.client_certificate and connection.client_key:
        _load_pair(context, connection)
    return context


def _load_pair(context: ssl.SSLContext, connection: Connection) -> None:
    """The ssl module reads key pairs from files only: they exist for that long."""
    with tempfile.TemporaryDirectory(prefix="cove-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(connection.client_certificate)
        key.touch(mode=0o600)
        key.write_bytes(connection.client_key)
        try:
            context.load_cert_chain(certificate, key)
        except (ssl.SSLError, ValueError) as e:
            raise KubeconfigError(
                connection.origin, "client-certificate", f"not a usable PEM key pair: {e}"
            ) from e
