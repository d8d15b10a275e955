"""portforward: one TCP connection into a pod, through the API server.

::

    async with client.port_forward("web-0", 8080, "default") as connection:
        await connection.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
        await connection.write_eof()
        while piece := await connection.read():
            ...

Every connection has a WebSocket to itself, so that a slow one holds back nobody else: none
of the protocols has windows.  :class:`Tunnels` gives it to another connection afterwards,
since opening one costs more than most connections.  What is spoken in it is the first that
the server knows of

- ``SPDY/3.1+portforward.k8s.io``, a pair of SPDY streams (Kubernetes 1.30 and later).  The
  writing side can be ended alone, as TCP's can.
- ``v4.channel.k8s.io``, a pair of numbered channels (every Kubernetes).  It has no end of
  the writing side: the pod never learns of one, and what it sends is read until the pod
  itself closes.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ and KEP-4006;
``pkg/kubelet/portforward``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self
from urllib.parse import quote

from cove.client._transport import Transport
from cove.client.clock import Clock, Timer
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

    from cove.client._client import Client

__all__ = ["CHANNELS", "PROTOCOLS", "TUNNEL", "PortForward", "Tunnels", "open_forward"]

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = "v4.channel.k8s.io"
PROTOCOLS = (TUNNEL, CHANNELS)

# A message is not longer than this, so that what is sent waits where it can be counted.
PIECE = 64 * 1024
# Seconds that a server has to accept a connection's streams: client-go's.
ACCEPTING = 30.0
# WebSockets that are being opened to one pod at once.  Who waits takes one that another
# connection has done with, if that comes first.
OPENING = 8
# Seconds that who waits hopes for one, since the last was opened or given back: a burst of
# short connections goes over a few, and those that stay open soon get one each.
PATIENCE = 0.05
# How many are kept for the next connections, and for how many seconds.
IDLE, IDLE_FOR = 32, 30.0


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
    where = f"port {port} of pod {namespace}/{pod}"
    async with _websocket(transport, namespace, pod, port, user_agent, protocols) as socket:
        if socket.protocol == TUNNEL:
            tunnel = _Tunnel(socket)
            await tunnel.open(port, where)
            yield tunnel
        else:
            yield _Channels(socket, where)


def _websocket(
    transport: Transport,
    namespace: str,
    pod: str,
    port: int,
    user_agent: str,
    protocols: Sequence[str],
) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
    websocket = getattr(transport, "websocket", None)
    if websocket is None:
        raise ClientError(
            "port-forward needs a connection to the API server, and this client calls it in "
            "process: make a client with Client.connect(kubeconfig.load(...))"
        )
    return websocket(  # type: ignore[no-any-return]
        f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward",
        query=f"ports={port}",
        headers={"User-Agent": user_agent} if user_agent else None,
        protocols=tuple(protocols),
    )


class _Messages:
    """The binary messages of a WebSocket; None is its orderly end."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, where: str) -> None:
        self._socket = socket
        self._where = where
        self._lost = False

    def _broken(self, why: str) -> PortForwardError:
        return PortForwardError(f"{self._where}: {why}")

    async def _receive(self) -> bytes | None:
        from aiohttp import WSMsgType

        if self._socket.closed:
            self._lost = True
            return None
        message = await self._socket.receive()
        kind = message.type
        if kind is WSMsgType.BINARY:
            return message.data  # type: ignore[no-any-return]
        if kind is WSMsgType.TEXT:
            return message.data.encode()  # type: ignore[no-any-return]
        self._lost = True
        if kind is WSMsgType.CLOSE and message.data == 1000:
            return None
        if kind is WSMsgType.CLOSE:
            raise self._broken(f"closed with {message.data}: {message.extra or 'no reason given'}")
        raise self._broken("the connection to the API server broke off")

    async def _send(self, data: bytes) -> None:
        try:
            await self._socket.send_bytes(data)
        except ConnectionError as e:
            self._lost = True
            raise self._broken("the connection to the API server is closed") from e


class _Tunnel(_Messages):
    """A pair of SPDY streams, the only ones of their connection."""

    protocol = TUNNEL
    half_close = True

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(socket, "")
        self._encoder = Encoder()
        self._decoder = Decoder()
        # The numbers of the pair's streams: a client's are odd, the one for errors is first.
        self._error, self._data = -3, -1
        self._leaving = False
        self._begin()

    def _begin(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._accepted: set[int] = set()
        self._said = b""
        self._ended = False
        self._reset = False
        self._finished = False

    @property
    def reusable(self) -> bool:
        """Whether both sides have ended in order: what still comes is of no interest."""
        whole = self._ended and self._finished and not (self._reset or self._said)
        return whole and self.alive

    @property
    def alive(self) -> bool:
        """Whether more pairs can be opened, as far as is known."""
        return not self._leaving and not self._socket.closed and not self._lost

    async def open(self, port: int, where: str) -> None:
        """Open a pair and wait until it is accepted: data before that would be lost."""
        self._where = where
        self._error, self._data = self._error + 4, self._data + 4
        self._begin()
        common = {"port": str(port), "requestid": str(self._error // 4)}
        await self._send(
            b"".join(
                self._encoder.encode(SynStream(id, {"streamtype": type, **common}))
                for id, type in ((self._error, "error"), (self._data, "data"))
            )
        )
        try:
            async with asyncio.timeout(ACCEPTING):
                while len(self._accepted) < 2:
                    if self._ended or self._reset or not await self._more():
                        raise self._failure() or self._broken("the streams were not opened")
        except TimeoutError as e:
            self._lost = True
            raise self._broken(f"the streams were not opened within {ACCEPTING} s") from e
        await self._send(self._encoder.encode(Data(self._error, b"", fin=True)))

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
                    case SynReply(stream) if stream in (self._error, self._data):
                        self._accepted.add(stream)
                    case Reset(stream) if stream in (self._error, self._data):
                        # Of the errors' stream it says only that nothing will be said.
                        self._reset |= stream == self._data or len(self._accepted) < 2
                    case Ping(id) if not id % 2:
                        await self._send(self._encoder.encode(frame))
                    case GoAway():
                        self._leaving = True
                        self._reset |= len(self._accepted) < 2
                    case _:
                        pass
        except SpdyError as e:
            raise self._broken(str(e)) from e
        return True

    def _take(self, stream: int, piece: bytes, fin: bool) -> None:
        if stream == self._data:
            if piece:
                self._pieces.append(piece)
            self._ended |= fin
        elif stream == self._error:
            self._said += piece
            self._ended |= bool(fin and self._said)

    async def write(self, data: bytes) -> None:
        if self._reset or self._finished:
            raise self._failure() or self._broken("written to after its end")
        for start in range(0, len(data), PIECE):
            piece = data if len(data) <= PIECE else data[start : start + PIECE]
            await self._send(self._encoder.encode(Data(self._data, piece)))

    async def write_eof(self) -> None:
        if not self._finished:
            self._finished = True
            await self._send(self._encoder.encode(Data(self._data, b"", fin=True)))


class Tunnels:
    """Connections into one pod, one after another over the same WebSockets.

    Leaving it closes those that are not in use; one that is, when its connection is left.
    ``connect`` raises what :func:`open_forward` does.  ``clock`` tells how long a WebSocket
    has not been used.
    """

    def __init__(self, client: Client, pod: str, namespace: str, *, clock: Clock) -> None:
        self._client = client
        self._pod = pod
        self._namespace = namespace
        self._clock = clock
        self._idle: list[_Kept] = []
        self._opening = 0
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        # When a WebSocket was opened or given back last, and the call that looks whether
        # that is long ago.
        self._last = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is not in use; from now on nothing is kept."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._idle:
            kept = self._idle.pop()
            kept.timer.cancel()
            await kept.cut()
        # Not cancelled: one that has not begun would close nothing.
        while self._closing:
            await asyncio.wait(tuple(self._closing))

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[PortForward]:
        """Connect to a port, over a WebSocket that is there or a new one."""
        where = f"port {port} of pod {self._namespace}/{self._pod}"
        async with AsyncExitStack() as stack:
            tunnel, stack_of = await self._opened(port, where)
            stack.push_async_exit(stack_of)
            yield tunnel
            if not isinstance(tunnel, _Tunnel) or not tunnel.reusable:
                return
            if self._closed or len(self._idle) >= IDLE:
                return
            # It is not closed now: that is up to who takes it next, or to time.
            stack.pop_all()
            self._keep(tunnel, stack_of)

    async def _opened(self, port: int, where: str) -> tuple[PortForward, AsyncExitStack]:
        while True:
            await self._turn()
            if not self._idle:
                self._opening += 1
                try:
                    return await self._open(port, where)
                finally:
                    self._opening -= 1
                    self._last = asyncio.get_running_loop().time()
                    self._arm()
            kept = self._idle.pop()
            kept.timer.cancel()
            try:
                await kept.tunnel.open(port, where)
            except BaseException as e:
                await kept.cut()
                # The server may have closed it since; nothing was sent that could be lost.
                if isinstance(e, PortForwardError) and not kept.tunnel.alive:
                    continue
                raise
            return kept.tunnel, kept.stack

    async def _turn(self) -> None:
        """Wait until there is a WebSocket to take, or one may be opened."""
        loop = asyncio.get_running_loop()
        while not self._idle:
            if self._opening < OPENING and loop.time() >= self._last + PATIENCE:
                return
            waiting = loop.create_future()
            self._waiting.append(waiting)
            self._arm()
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._wake()
                raise

    def _arm(self) -> None:
        if self._waiting and self._alarm is None and self._opening < OPENING:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_at(self._last + PATIENCE, self._ring)

    def _ring(self) -> None:
        """Nothing was given back for a while: some of those who wait may open their own."""
        self._alarm = None
        if asyncio.get_running_loop().time() < self._last + PATIENCE:
            self._arm()
            return
        for _ in range(OPENING - self._opening):
            self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def _open(self, port: int, where: str) -> tuple[PortForward, AsyncExitStack]:
        client = self._client
        async with AsyncExitStack() as stack:
            socket = await stack.enter_async_context(
                _websocket(
                    client.transport,
                    self._namespace,
                    self._pod,
                    port,
                    client.user_agent,
                    PROTOCOLS,
                )
            )
            if socket.protocol != TUNNEL:
                return _Channels(socket, where), stack.pop_all()
            tunnel = _Tunnel(socket)
            await tunnel.open(port, where)
            return tunnel, stack.pop_all()

    def _keep(self, tunnel: _Tunnel, stack: AsyncExitStack) -> None:
        def forget() -> None:
            self._idle.remove(kept)
            task = asyncio.get_running_loop().create_task(kept.cut(), name="portforward: close")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

        kept = _Kept(tunnel, stack, self._clock.call_later(IDLE_FOR, forget))
        self._idle.append(kept)
        self._last = asyncio.get_running_loop().time()
        self._wake()


class _Kept(NamedTuple):
    """A tunnel that nobody uses, and what closes it."""

    tunnel: _Tunnel
    stack: AsyncExitStack
    timer: Timer

    async def cut(self) -> None:
        """Close it at once."""
        with suppress(_CutError):
            async with self.stack:
                raise _CutError


class _CutError(Exception):
    """What a WebSocket is left by to be cut."""


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
