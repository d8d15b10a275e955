"""What SPDY frames travel in: a connection of their own, or the messages of a WebSocket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["MessagePipe", "StreamPipe"]

READ = 64 * 1024


class StreamPipe:
    """A connection that was taken over from HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """The next bytes; b"" at the end.  Raises ConnectionError."""
        return await self._reader.read(READ)

    async def write(self, data: bytes) -> None:
        """Send; raises ConnectionError."""
        self._writer.write(data)
        await self._writer.drain()


class MessagePipe:
    """The binary messages of a WebSocket, whose bounds mean nothing."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """The next bytes; b"" when it is closed, or says what is no bytes."""
        from aiohttp import WSMsgType

        while True:
            message = await self._socket.receive()
            if message.type != WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def write(self, data: bytes) -> None:
        """Send; raises ConnectionError."""
        if self._socket.closed:
            raise ConnectionResetError("the WebSocket is closed")
        await self._socket.send_bytes(data)
