"""Channels: numbered streams in the messages of one WebSocket.

A message is the number of its channel (a byte; a digit in the base64 protocols) and data.

Source: ``wsstream`` of k8s.io/apimachinery.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Channels", "Message"]

CLOSE = 255


class Message(NamedTuple):
    """Data of a channel; ``data`` None: the client has closed it."""

    channel: int
    data: bytes | None


class Channels:
    """``count`` channels over a WebSocket that has agreed on ``protocol``."""

    def __init__(self, socket: web.WebSocketResponse, protocol: str, count: int) -> None:
        self.socket = socket
        self._base64 = "base64" in protocol
        self._closes = protocol.startswith("v5.")
        self._count = count

    async def receive(self) -> Message | None:
        """The next message; None when the client is gone or breaks the protocol.

        What is for a channel that is not there, or not in base64, is passed over.
        """
        from aiohttp import WSMsgType

        while True:
            message = await self.socket.receive()
            if message.type == WSMsgType.TEXT:
                data = message.data.encode()
            elif message.type == WSMsgType.BINARY:
                data = bytes(message.data)
            else:
                return None
            if not data:
                continue
            channel, data = data[0], data[1:]
            if self._closes and channel == CLOSE:
                if len(data) != 1 or data[0] >= self._count:
                    return None
                return Message(data[0], None)
            if self._base64:
                channel -= ord("0")
            if not 0 <= channel < self._count:
                continue
            if self._base64:
                try:
                    data = b64decode(data, validate=True)
                except binascii.Error:
                    continue
            return Message(channel, data)

    async def send(self, channel: int, data: bytes) -> None:
        """Send on a channel, waiting while the client is slow; raises ConnectionError."""
        if self.socket.closed:
            raise ConnectionResetError("the WebSocket is closed")
        if self._base64:
            await self.socket.send_str(f"{channel}{b64encode(data).decode()}")
        else:
            await self.socket.send_bytes(bytes((channel,)) + data)
