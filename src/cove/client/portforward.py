"""portforward: one TCP connection into a pod, through the API server.

::

    async with client.port_forward("web-0", 8080, "default") as connection:
        await connection.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
        await connection.write_eof()
        while piece := await connection.read():
            ...

Every connection is a WebSocket of its own, so that a slow one holds back nobody else: none
of the protocols has windows.  What is spoken in it is the first that the server knows of

- ``SPDY/3.1+portforward.k8s.io``, a pair of SPDY streams (Kubernetes 1.30 and later).  The
  writing side can be ended alone, as TCP's can.
- ``v4.channel.k8s.io``, a pair of numbered channels (every Kubernetes).  It has no end of
  the writing side: the pod never learns of one, and what it sends is read until the pod
  itself closes.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and KEP-4006;
``pkg/kubelet/portforward``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from cove.client._transport import Transport
from cove.client.errors import ClientError, PortForwardError
from cove.kube.spdy import (
    Data,
    Decoder,
    Encoder,
    GoAway,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
)

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CHANNELS", "PROTOCOLS", "TUNNEL", "PortForward", "open_forward"]

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = "v4.channel.k8s.io"
PROTOCOLS = (TUNNEL, CHANNELS)

# A message is not longer than this, so that what is sent waits where it can be counted.
PIECE = 64 * 1024
# Client-go's numbers: its streams are odd, the one for errors is opened first.
_ERROR, _DATA = 1, 3


class PortForward(Protocol):
    """An open connection; one task may read while another writes."""

    protocol: str
    # Whether the pod is told of write_eof.
    half_close: bool

    async def read(self) -> bytes:
        """The next bytes; b"" once the pod has closed its side.

        Raises PortForwardError with the server's text when the connection did not come
        about in the pod, or broke off.
        """

    async def write(self, data: bytes) -> None:
        """Send, waiting while the other end is slow; raises PortForwardError.

        That the pod is gone may be noticed only by reading.
        """

    async def write_eof(self) -> None:
        """Nothing more will be written; reading goes on."""


@asynccontextmanager
async def open_forward(
    transport: Transport,
    namespace: str,
    pod: str,
    port: int,
    *,
    user_agent: str = "",
    protocols: Sequence[str] = PROTOCOLS,
) -> AsyncIterator[PortForward]:
    """Connect to a port of a pod; entered, the server carries it, though the pod may refuse.

    Raises StatusError (no such pod, no permission, pods that are simulated),
    UnreachableError, and ClientError for a transport that has no sockets.  Left by an
    exception the connection is cut, otherwise it is closed once what was written is sent.
    """
    websocket = getattr(transport, "websocket", None)
    if websocket is None:
        raise ClientError(
            "port-forward needs a connection to the API server, and this client calls it in "
            "process: make a client with Client.connect(kubeconfig.load(...))"
        )
    opening: AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse] = websocket(
        f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward",
        query=f"ports={port}",
        headers={"User-Agent": user_agent} if user_agent else None,
        protocols=tuple(protocols),
    )
    where = f"port {port} of pod {namespace}/{pod}"
    async with opening as socket:
        if socket.protocol == TUNNEL:
            tunnel = _Tunnel(socket, where)
            await tunnel.open(port)
            yield tunnel
        else:
            yield _Channels(socket, where)


class _Messages:
    """The binary messages of a WebSocket; None is its orderly end."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        self._socket = socket
        self._where = where

    def _broken(self, why: str) -> PortForwardError:
        return PortForwardError(f"{self._where}: {why}")

    async def _receive(self) -> bytes | None:
        from aiohttp import WSMsgType

        if self._socket.closed:
            return None
        message = await self._socket.receive()
        kind = message.type
        if kind is WSMsgType.BINARY:
            return message.data  # type: ignore[no-any-return]
        if kind is WSMsgType.TEXT:
            return message.data.encode()  # type: ignore[no-any-return]
        if kind is WSMsgType.CLOSE and message.data == 1000:
            return None
        if kind is WSMsgType.CLOSE:
            raise self._broken(f"closed with {message.data}: {message.extra or 'no reason given'}")
        raise self._broken("the connection to the API server broke off")

    async def _send(self, data: bytes) -> None:
        try:
            await self._socket.send_bytes(data)
        except ConnectionError as e:
            raise self._broken("the connection to the API server is closed") from e


class _Tunnel(_Messages):
    """A pair of SPDY streams, the only ones of their connection."""

    protocol = TUNNEL
    half_close = True

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        super().__init__(socket, where)
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._pieces: deque[bytes] = deque()
        self._accepted: set[int] = set()
        self._said = b""
        self._ended = False
        self._reset = False
        self._finished = False

    async def open(self, port: int) -> None:
        """Open the streams and wait until both are accepted: data before that would be lost."""
        common = {"port": str(port), "requestid": "0"}
        await self._send(
            b"".join(
                self._encoder.encode(SynStream(id, {"streamtype": type, **common}))
                for id, type in ((_ERROR, "error"), (_DATA, "data"))
            )
        )
        while len(self._accepted) < 2:
            if self._ended or self._reset or not await self._more():
                raise self._failure() or self._broken("the server did not open the streams")
        await self._send(self._encoder.encode(Data(_ERROR, b"", fin=True)))

    async def read(self) -> bytes:
        while not self._pieces:
            if self._ended or self._reset:
                failure = self._failure()
                if failure is not None:
                    raise failure
                return b""
            if not await self._more():
                raise self._failure() or self._broken("the API server closed the connection")
        if len(self._pieces) == 1:
            return self._pieces.popleft()
        pieces = b"".join(self._pieces)
        self._pieces.clear()
        return pieces

    def _failure(self) -> PortForwardError | None:
        """What went wrong, as far as the server has told."""
        if self._said:
            return PortForwardError(self._said.decode(errors="replace").strip())
        return self._broken("the connection broke off in the pod") if self._reset else None

    async def _more(self) -> bool:
        """Take in another message; False when there is none."""
        data = await self._receive()
        if data is None:
            return False
        try:
            for frame in self._decoder.feed(data):
                match frame:
                    case Data(stream, piece, fin):
                        self._take(stream, piece, fin)
                    case SynReply(stream):
                        self._accepted.add(stream)
                    case Reset(stream):
                        # Of the errors' stream it says only that nothing will be said.
                        self._reset |= stream == _DATA or len(self._accepted) < 2
                    case Ping(id) if not id % 2:
                        await self._send(self._encoder.encode(frame))
                    case GoAway() if not self._accepted:
                        self._reset = True
                    case _:
                        pass
        except SpdyError as e:
            raise self._broken(str(e)) from e
        return True

    def _take(self, stream: int, piece: bytes, fin: bool) -> None:
        if stream == _DATA:
            if piece:
                self._pieces.append(piece)
            self._ended |= fin
        elif stream == _ERROR:
            self._said += piece
            self._ended |= bool(fin and self._said)

    async def write(self, data: bytes) -> None:
        if self._reset or self._finished:
            raise self._failure() or self._broken("written to after its end")
        for start in range(0, len(data), PIECE):
            piece = data if len(data) <= PIECE else data[start : start + PIECE]
            await self._send(self._encoder.encode(Data(_DATA, piece)))

    async def write_eof(self) -> None:
        if not self._finished:
            self._finished = True
            await self._send(self._encoder.encode(Data(_DATA, b"", fin=True)))


class _Channels(_Messages):
    """Channel 0 for data and 1 for errors; each begins with the number of the port."""

    protocol = CHANNELS
    half_close = False

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        super().__init__(socket, where)
        # Bytes of the port's number that are still to come, by channel.
        self._preface = [2, 2]
        self._finished = False

    async def read(self) -> bytes:
        while True:
            message = await self._receive()
            if message is None:
                return b""
            if not message or message[0] > 1:
                continue
            channel = message[0]
            skipped = min(self._preface[channel], len(message) - 1)
            self._preface[channel] -= skipped
            data = message[1 + skipped :]
            if not data:
                continue
            if channel:
                raise PortForwardError(data.decode(errors="replace").strip())
            return data

    async def write(self, data: bytes) -> None:
        if self._finished:
            raise self._broken("written to after its end")
        for start in range(0, len(data), PIECE):
            await self._send(b"\0" + data[start : start + PIECE])

    async def write_eof(self) -> None:
        self._finished = True
