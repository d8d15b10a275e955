"""A connection that leaves HTTP: the front's own transport with another protocol on it.

aiohttp hands over connections that become WebSockets; this is for all others.  A client
that keeps to RFC 9110, 7.8 sends nothing of the new protocol before it has read the 101,
so nothing of it can have gone to the HTTP parser.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web_protocol import RequestHandler

__all__ = ["Taken", "cancelled_by_hangup", "take_over"]

# What waits here to be read, in bytes, before the client is held back: twice as much.
LIMIT = 128 * 1024
# Seconds between two questions whether a silent client is still there: Go's default.
KEEPALIVE = 15


class Taken(NamedTuple):
    """A connection that was taken over.

    ``response`` is what the front is given back once nothing is to be said any more; the
    front closes the connection then.
    """

    response: web.StreamResponse
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Protocol(asyncio.StreamReaderProtocol):
    """Reads and writes as streams do, and tells the HTTP handler when the client is gone.

    The handler keeps the server's books of its connections, and cancels the request.
    """

    def __init__(self, reader: asyncio.StreamReader, handler: RequestHandler) -> None:
        super().__init__(reader)
        self._handler = handler

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._handler.connection_lost(exc)


async def take_over(raw: web.BaseRequest, headers: Mapping[str, str]) -> Taken:
    """Answer 101 with ``headers`` and take the connection; raises ConnectionError."""
    from aiohttp import web
    from multidict import CIMultiDict

    response = web.StreamResponse(status=101, headers=CIMultiDict(headers))
    response.force_close()
    await response.prepare(raw)
    transport, handler = raw.transport, raw.protocol
    if transport is None:
        raise ConnectionResetError("the client is gone")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(LIMIT, loop)
    protocol = _Protocol(reader, handler)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return Taken(response, reader, asyncio.StreamWriter(transport, protocol, reader, loop))


@contextmanager
def cancelled_by_hangup(raw: web.BaseRequest) -> Iterator[None]:
    """Cancel this task when the client is gone, even if nothing is read from it.

    The loop does not look at a connection that is held back: a client that left behind more
    than anybody reads would never be missed.  Its end waits behind what it has sent, so the
    connection is also asked now and then whether it still stands.  Where there is no epoll,
    only reading tells.
    """
    connection = raw.get_extra_info("socket")
    if connection is None or not hasattr(select, "epoll"):
        yield
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
        connection.setsockopt(socket.IPPROTO_TCP, option, KEEPALIVE)
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    with closing(select.epoll()) as poll:

        def leave() -> None:
            loop.remove_reader(poll.fileno())
            task.cancel()

        poll.register(connection.fileno(), select.EPOLLRDHUP)
        loop.add_reader(poll.fileno(), leave)
        try:
            yield
        finally:
            loop.remove_reader(poll.fileno())
