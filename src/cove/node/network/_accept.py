"""Acceptor: a listening socket and its connections, closed whole.

asyncio's own servers forget a connection that was accepted just before they are closed
(before Python 3.13): its client would wait forever.  So connections are accepted in a callback
here, and belong to a task from then on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from cove.client import Tasks

__all__ = ["Acceptor"]

log = logging.getLogger("cove.node")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BACKLOG = 128
BUFFER = 64 * 1024
# Seconds until accepting is tried again when there are no file descriptors left.
AGAIN = 0.1


class Acceptor:
    """Calls ``serve`` for every connection, at most ``limit`` at a time; more are closed.

    Entering raises OSError where the address and port cannot be had.  A connection is closed
    when ``serve`` has returned and what it wrote is sent, and at once when that fails or the
    acceptor is left.
    """

    def __init__(self, address: str, port: int, serve: Serve, *, limit: int) -> None:
        self._place = (address, port)
        self._serve = serve
        self._limit = limit
        self._open = 0
        self._again: asyncio.TimerHandle | None = None
        self._connections = Tasks()

    async def __aenter__(self) -> Self:
        self._socket = socket.create_server(self._place, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._again is not None:
            self._again.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        await self._connections.close()

    @property
    def port(self) -> int:
        """The port, also where 0 was asked for."""
        return int(self._socket.getsockname()[1])

    def _listen(self) -> None:
        self._again = None
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as e:
                log.warning("port %d accepts no connections: %s", self.port, e)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._socket)
                self._again = loop.call_later(AGAIN, self._listen)
                return
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        if self._open >= self._limit:
            connection.close()
            return
        self._open += 1
        connection.setblocking(False)
        task = self._connections.start(
            f"connection to port {self.port}", self._connected(connection)
        )
        task.add_done_callback(lambda _: self._ended(connection))

    def _ended(self, connection: socket.socket) -> None:
        self._open -= 1
        # Where it was cancelled before its first step; otherwise it is closed already.
        connection.close()

    async def _connected(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER)
        try:
            with suppress(OSError, EOFError):
                await self._serve(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()
