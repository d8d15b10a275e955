"""SpdyConnection: the streams of one connection, the server's end.

Nobody moves windows (see :mod:`cove.kube.spdy`), so a stream that is not read holds back the whole
connection once enough of it waits, as it does at the other end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol, Self

from cove.kube.spdy import (
    CANCEL,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Data,
    Decoder,
    Encoder,
    Frame,
    GoAway,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
)

__all__ = ["LINGER", "Pipe", "SpdyConnection", "Stream"]

# Bytes that wait to be read: of one stream, and of all, before the client is held back.
STREAM_LIMIT = 256 * 1024
TOTAL_LIMIT = 4 * 1024 * 1024
# Bytes that wait to be sent before who writes has to wait; answers to what the client does
# (pings, new streams) may come on top, up to twice as much.
SEND_LIMIT = 256 * 1024
# A frame of data is not longer than this, so that streams take turns.
PIECE = 32 * 1024
STREAMS = 4096
# Seconds a client has to read what is left and close.  Closing while it still sends would
# reset the connection and lose what it has not read.
LINGER = 900.0


class Pipe(Protocol):
    """What carries a connection."""

    async def read(self) -> bytes:
        """The next bytes; b"" when the other end has closed.  Raises ConnectionError."""

    async def write(self, data: bytes) -> None:
        """Send, waiting while the other end is slow; raises ConnectionError."""


class Stream:
    """One stream that the client has opened, to be accepted or reset by who takes it."""

    def __init__(self, connection: SpdyConnection, id: int, headers: Mapping[str, str]) -> None:
        self.id = id
        # Names in lower case.
        self.headers = headers
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._finished = False
        self._ignored = False
        self._news = asyncio.Event()
        self._reset = asyncio.Event()

    @property
    def reset(self) -> bool:
        """Whether it was ended at once, by either side or with the connection."""
        return self._reset.is_set()

    async def wait_reset(self) -> None:
        """Wait until it is ended at once, which may never be."""
        await self._reset.wait()

    def accept(self) -> None:
        """Tell the client that it may send."""
        self._connection._send(SynReply(self.id))

    async def read(self) -> bytes:
        """The next piece; b"" after the last, and when the stream was reset."""
        while not self._pieces and not self._ended:
            self._news.clear()
            await self._news.wait()
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._size -= len(piece)
        self._connection._took(len(piece))
        return piece

    async def write(self, data: bytes) -> None:
        """Send data; raises ConnectionError if nobody will read it any more."""
        for start in range(0, len(data), PIECE):
            if self._finished or self.reset:
                raise ConnectionResetError(f"stream {self.id} is closed")
            await self._connection._offer(Data(self.id, data[start : start + PIECE]))

    def finish(self) -> None:
        """Say that no more data will come from here."""
        if not self._finished and not self.reset:
            self._finished = True
            self._connection._send(Data(self.id, b"", fin=True))
            self._connection._forget(self)

    def cancel(self, status: int = CANCEL) -> None:
        """End it at once, in both directions."""
        if not self.reset and not (self._ended and self._finished):
            self._connection._send(Reset(self.id, status))
        self.ignore()
        self._end(reset=True)

    def ignore(self) -> None:
        """Throw away what has come and what will: it shall not hold back the others."""
        self._ignored = True
        self._connection._took(self._size)
        self._pieces.clear()
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether too much waits to be read."""
        return self._size > STREAM_LIMIT

    @property
    def done(self) -> bool:
        """Whether both directions have ended."""
        return self.reset or (self._ended and self._finished)

    def _feed(self, data: bytes, fin: bool) -> int:
        """Take what has come; how many bytes of it wait now."""
        kept = 0
        if data and not self._ended and not self._ignored:
            self._pieces.append(data)
            self._size += len(data)
            kept = len(data)
        if fin:
            self._end()
        self._news.set()
        return kept

    def _end(self, *, reset: bool = False) -> None:
        self._ended = True
        if reset:
            self._reset.set()
        self._news.set()
        self._connection._forget(self)


class SpdyConnection:
    """Entered it reads and writes; left it says goodbye, or just ends if it is in a hurry.

    ``async with SpdyConnection(pipe) as connection: stream = await connection.accept()``.
    An exception, or cancellation, is a hurry.  The pipe is not closed.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._encoder = Encoder()
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._waiting = 0
        self._read = asyncio.Event()
        self._out: list[bytes] = []
        self._out_size = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closing = False
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._room.set()
        self._reader = asyncio.create_task(self._receive(), name="spdy in")
        self._writer = asyncio.create_task(self._transmit(), name="spdy out")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None:
                await self._goodbye()
        finally:
            tasks = (self._reader, self._writer)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._end()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def accept(self) -> Stream | None:
        """The next stream that the client opens; None when there will be no more."""
        return None if self._gone.is_set() else await self._opened.get()

    async def gone(self) -> None:
        """Wait until the client has left."""
        await self._gone.wait()

    async def _goodbye(self) -> None:
        self._closing = True
        for stream in list(self._streams.values()):
            stream.ignore()
        self._send(GoAway(self._last))
        self._took(0)
        try:
            async with asyncio.timeout(LINGER):
                await self._writer
                await self._gone.wait()
        except TimeoutError:
            pass

    # -- in

    async def _receive(self) -> None:
        decoder = Decoder()
        try:
            while data := await self._pipe.read():
                for frame in decoder.feed(data):
                    if isinstance(frame, GoAway):
                        return
                    self._handle(frame)
                    await self._hold(frame)
        except SpdyError:
            self._send(GoAway(self._last, status=1))
        except ConnectionError:
            pass
        finally:
            self._end()

    def _handle(self, frame: Frame) -> None:
        match frame:
            case Data(id, data, fin):
                stream = self._streams.get(id)
                if stream is not None and not self._closing:
                    self._waiting += stream._feed(data, fin)
            case SynStream():
                self._open(frame)
            case Reset(id):
                stream = self._streams.get(id)
                if stream is not None:
                    stream.ignore()
                    stream._end(reset=True)
            case Ping(id):
                # Even ones would be ours, and none is sent.
                if id % 2:
                    self._send(frame)
            case _:
                pass

    def _open(self, frame: SynStream) -> None:
        if self._closing:
            return
        if frame.stream <= self._last or not frame.stream % 2:
            self._send(Reset(frame.stream, PROTOCOL_ERROR))
            return
        self._last = frame.stream
        if len(self._streams) >= STREAMS or self._opened.qsize() >= STREAMS:
            self._send(Reset(frame.stream, REFUSED_STREAM))
            return
        stream = self._streams[frame.stream] = Stream(self, frame.stream, frame.headers)
        if frame.fin:
            stream._feed(b"", fin=True)
        self._opened.put_nowait(stream)

    async def _hold(self, frame: Frame) -> None:
        """Wait before more is read: for who reads the streams, and for a client that asks a
        lot and does not read the answers."""
        stream = self._streams.get(frame.stream) if isinstance(frame, Data) else None
        while not self._closing and (
            self._waiting > TOTAL_LIMIT or (stream is not None and stream.full)
        ):
            self._read.clear()
            await self._read.wait()
        while self._out_size > 2 * SEND_LIMIT:
            self._room.clear()
            await self._room.wait()

    def _took(self, size: int) -> None:
        self._waiting -= size
        self._read.set()

    def _forget(self, stream: Stream) -> None:
        if stream.done:
            self._streams.pop(stream.id, None)

    def _end(self) -> None:
        """Nothing will come from the client any more."""
        if self._gone.is_set():
            return
        self._gone.set()
        self._opened.put_nowait(None)
        for stream in list(self._streams.values()):
            stream._end(reset=True)

    # -- out

    def _send(self, frame: Frame) -> None:
        if self._writer.done():
            return
        data = self._encoder.encode(frame)
        self._out.append(data)
        self._out_size += len(data)
        self._more.set()

    async def _offer(self, frame: Frame) -> None:
        # One at a time, in the order they came: all streams get their turn.
        async with self._turn:
            while self._out_size > SEND_LIMIT and not self._writer.done():
                self._room.clear()
                await self._room.wait()
            if self._writer.done() or self._gone.is_set():
                raise ConnectionResetError("the client is gone")
            self._send(frame)

    async def _transmit(self) -> None:
        """The only one that writes: it is not cancelled while anybody relies on it."""
        try:
            while True:
                while not self._out:
                    if self._closing:
                        return
                    self._more.clear()
                    await self._more.wait()
                data = b"".join(self._out)
                self._out.clear()
                self._out_size = 0
                self._room.set()
                await self._pipe.write(data)
        except ConnectionError:
            self._end()
        finally:
            self._out_size = 0
            self._room.set()
