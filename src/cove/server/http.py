"""HttpServer: the HTTPS front of one Api and its forks.

aiohttp's low-level server without a router: one function gets every request.  A fork is
addressed by the path prefix ``/forks/ID``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import struct
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException

from cove.kube import status as st
from cove.kube.status import CoveError, StatusError
from cove.server.answer import Answer, Streamed
from cove.server.api import BODY_LIMIT, Api
from cove.server.faults import CutError
from cove.server.identity import ANONYMOUS
from cove.server.observe import refused
from cove.server.request import Request, Response, User

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HttpServer", "PortTakenError"]

log = logging.getLogger("cove.server")

# A client has this long to send its headers (slow loris) and stays connected without
# requests for KEEPALIVE.
HEADER_TIMEOUT = 10.0
KEEPALIVE = 300.0
BACKLOG = 1024


class PortTakenError(CoveError):
    """The port that was asked for is in use, or may not be used (``why``)."""

    def __init__(self, host: str, port: int, why: str = "is in use") -> None:
        super().__init__(
            f"port {port} of {host} {why}; choose another with --port, or --port 0 for a free one"
        )
        self.port = port


class _OurFaults(logging.Filter):
    """Lets through all but what clients do wrong: requests that are no HTTP are answered 400,
    and whoever reaches the port could fill the log with them."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return not isinstance(error, HttpProcessingError)


_aiohttp = logging.getLogger("cove.server.aiohttp")
_aiohttp.addFilter(_OurFaults())


class HttpServer:
    """Serves until it is left: ``async with HttpServer(api, tls) as server``.

    ``tls`` None serves plain HTTP, for tests; every request is then an administrator's if
    ``admin`` says so.  ``port`` 0 takes a free one; :attr:`port` is the one it got.
    Raises :class:`PortTakenError`.
    """

    def __init__(
        self,
        api: Api,
        tls: ssl.SSLContext | None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.api = api
        self.host = host
        self.port = port
        self.forks: dict[str, Api] = {}
        self._tls = tls
        self._stack = AsyncExitStack()
        self._server: web.Server | None = None

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return f"http{'s' if self._tls else ''}://{self.host}:{self.port}"

    @property
    def serving(self) -> bool:
        """Whether it listens."""
        return self._server is not None and self._listener.is_serving()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; raises :class:`PortTakenError`."""
        self._server = web.Server(
            self._handle,
            request_factory=None,
            access_log=None,
            logger=_aiohttp,
            # As upstream, which takes bodies as they are, whatever Content-Encoding says.
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE,
            lingering_time=1.0,
            handler_cancellation=True,
        )
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                self._server,
                self.host,
                self.port,
                ssl=self._tls,
                backlog=BACKLOG,
                ssl_handshake_timeout=HEADER_TIMEOUT if self._tls else None,
            )
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                raise PortTakenError(self.host, self.port) from e
            why = os.strerror(e.errno) if e.errno else str(e)
            raise PortTakenError(
                self.host, self.port, f"cannot be listened on ({why.lower()})"
            ) from e
        self._listener = listener
        self.port = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every watch and connection.  It can be started again, on the same port."""
        self._listener.close()
        sessions: list[asyncio.Task[Any]] = []
        for api in (self.api, *self.forks.values()):
            api.store.disconnect()
            sessions += api.sessions
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        if self._server is not None:
            # Connections without a request end now: a shutdown alone would wait for them.
            self._server.pre_shutdown()
            open_ = [handler.transport for handler in self._server.connections]
            await self._server.shutdown(2.0)
            # Closing says goodbye in TLS and waits for the same: a client that holds an idle
            # connection never answers, and the socket would outlive its server.
            for transport in open_:
                if transport is not None:
                    transport.abort()
            await asyncio.sleep(0)
        await self._listener.wait_closed()

    # -- requests

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        path, _, query = raw.raw_path.partition("?")
        request = Request(raw.method, path, query=query, headers=raw.headers, upgrade=raw)
        api = self.api
        if request.path.startswith("/forks/"):
            found = self._fork(request)
            if found is None:
                return web.Response(status=404, text="404 page not found\n")
            api = found
        try:
            if raw.can_read_body:
                request.body = await _read(raw)
            request.user = self._authenticate(api, raw)
        except StatusError as e:
            response = api.error(request, e)
            if api.observers:
                refused(api, request, response)
            return Answer(response, close=response.status == 413)
        try:
            response = await api.handle(request)
        except asyncio.CancelledError:
            raise
        except HTTPException:
            raise
        except CutError:
            return _cut(raw)
        except Exception as e:
            # The owner's boundary: what nobody expected is logged whole and told in brief.
            log.exception("%s %s failed", raw.method, raw.rel_url)
            response = api.error(request, st.internal_error(f"{type(e).__name__}: {e}"))
        if response.taken is not None:
            return response.taken  # type: ignore[no-any-return]  # the request's upgrade made it
        if response.stream is not None:
            return await _stream(response, raw)
        return Answer(response, close=response.status == 413)

    def _fork(self, request: Request) -> Api | None:
        _, _, rest = request.path.partition("/forks/")
        name, slash, path = rest.partition("/")
        request.path = slash + path
        return self.forks.get(name)

    def _authenticate(self, api: Api, raw: web.BaseRequest) -> User:
        header = raw.headers.get("Authorization")
        if header is not None and header[:7].lower() == "bearer ":
            token = header[7:].strip()
            if token:
                return api.identity.authenticate_token(api, token)
        certificate: Mapping[str, Any] | None = raw.get_extra_info("peercert")
        return (
            _certificate_user(certificate.get("subject", ())) if certificate else None
        ) or ANONYMOUS


@lru_cache(maxsize=1024)
def _certificate_user(subject: tuple[tuple[tuple[str, str], ...], ...]) -> User | None:
    """Who a verified client certificate is: CN is the name, every O a group."""
    name, groups = "", []
    for parts in subject:
        for key, value in parts:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    if not name:
        return None
    return User(name, (*groups, "system:authenticated"))


async def _read(raw: web.BaseRequest) -> bytes:
    length = raw.content_length
    if length is not None and length > BODY_LIMIT:
        raise st.request_entity_too_large(BODY_LIMIT)
    content = raw.content
    if content.is_eof():
        # Most bodies have come with the head.
        body = content.read_nowait()
        if len(body) > BODY_LIMIT:
            raise st.request_entity_too_large(BODY_LIMIT)
        return body
    chunks: list[bytes] = []
    size = 0
    while True:
        chunk = await content.readany()
        size += len(chunk)
        if size > BODY_LIMIT:
            raise st.request_entity_too_large(BODY_LIMIT)
        if content.at_eof():
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def _cut(raw: web.BaseRequest) -> web.StreamResponse:
    """Reset the connection, as a fault wants it; what is returned goes nowhere."""
    transport = raw.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Closing with nothing lingering sends RST in place of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _stream(response: Response, raw: web.BaseRequest) -> web.StreamResponse:
    answer = Streamed(response, raw)
    stream = response.stream
    assert stream is not None
    try:
        await answer.prepare(raw)
        async for chunk in stream:
            await answer.write(chunk)
        await answer.write_eof()
    except CutError:
        _cut(raw)
    except ConnectionError:
        # The client went away: that is how watches end.  Or what was told of did: nobody may take that for the end.
        _abort(raw)
    except Exception:
        # Something was said already: what is wrong with the rest can only be told by its missing.
        log.exception("%s %s broke off", raw.method, raw.rel_url)
        _abort(raw)
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return answer


def _abort(raw: web.BaseRequest) -> None:
    if raw.transport is not None:
        raw.transport.abort()
