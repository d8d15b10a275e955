"""SpdyConnection against a client made of frames: order, limits, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cove.kube.spdy import (
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Data,
    Decoder,
    Encoder,
    Frame,
    GoAway,
    Headers,
    Ping,
    Reset,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)
from cove.server.streams import _connection as connection_
from cove.server.streams._connection import SEND_LIMIT, STREAM_LIMIT, SpdyConnection, Stream


class Client:
    """The other end of a pipe that holds nothing: a write waits until it is read."""

    def __init__(self) -> None:
        self._to_server: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._to_client: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._encoder, self._decoder = Encoder(), Decoder()
        self._frames: list[Frame] = []
        self.broken = False

    # -- the server's side

    async def read(self) -> bytes:
        return await self._to_server.get()

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise ConnectionResetError
        await self._to_client.put(data)

    # -- the test's side

    async def send(self, *frames: Frame) -> None:
        await self._to_server.put(b"".join(map(self._encoder.encode, frames)))

    async def send_bytes(self, data: bytes) -> None:
        await self._to_server.put(data)

    async def next(self) -> Frame:
        while not self._frames:
            self._frames += self._decoder.feed(await self._to_client.get())
        return self._frames.pop(0)

    async def leave(self) -> None:
        await self._to_server.put(b"")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Client, SpdyConnection]]:
    """A connection whose client leaves when the test is done."""
    client = Client()
    async with SpdyConnection(client) as connection:
        yield client, connection
        leaving = asyncio.create_task(client.leave())

        async def read_on() -> None:
            while not isinstance(await client.next(), GoAway):
                pass

        reading = asyncio.create_task(read_on())
    leaving.cancel()
    reading.cancel()
    await asyncio.gather(leaving, reading, return_exceptions=True)


async def opened(client: Client, connection: SpdyConnection, id: int = 1) -> Stream:
    await client.send(SynStream(id, {"streamtype": "data"}))
    stream = await connection.accept()
    assert stream is not None
    stream.accept()
    assert await client.next() == SynReply(id)
    return stream


async def test_data_goes_both_ways_and_ends_each_for_itself() -> None:
    async with connected() as (client, connection):
        stream = await opened(client, connection)
        assert stream.headers == {"streamtype": "data"}
        await client.send(Data(1, b"in"), Data(1, b"", fin=True))
        assert [await stream.read(), await stream.read()] == [b"in", b""]
        await stream.write(b"out")
        assert await client.next() == Data(1, b"out")
        stream.finish()
        assert await client.next() == Data(1, b"", fin=True)
        assert stream.done
        with pytest.raises(ConnectionError):
            await stream.write(b"more")


async def test_what_carries_no_data_is_answered_or_passed_over() -> None:
    """Pings come back; windows, settings and late headers mean nothing; ours is not ours."""
    async with connected() as (client, _):
        await client.send(
            Settings(((0, 4, 100),)), WindowUpdate(1, 5), Headers(9), Ping(2), Ping(1)
        )
        assert await client.next() == Ping(1)


async def test_numbers_of_streams_are_the_clients_and_grow() -> None:
    async with connected() as (client, connection):
        await opened(client, connection, 5)
        for id in (5, 3, 6):
            await client.send(SynStream(id))
            assert await client.next() == Reset(id, PROTOCOL_ERROR)


async def test_more_streams_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_, "STREAMS", 2)
    async with connected() as (client, connection):
        await opened(client, connection, 1)
        await opened(client, connection, 3)
        await client.send(SynStream(5))
        assert await client.next() == Reset(5, REFUSED_STREAM)


async def test_streams_opened_and_reset_in_a_row_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_, "STREAMS", 2)
    async with connected() as (client, _):
        for id in (1, 3, 5):
            await client.send(SynStream(id), Reset(id, 5))
        assert await client.next() == Reset(5, REFUSED_STREAM)


async def test_a_stream_that_is_not_read_holds_back_the_client() -> None:
    async with connected() as (client, connection):
        stream = await opened(client, connection)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await client.send(Data(1, b"x" * 32768))
                sent += 32768

        flooding = asyncio.create_task(flood())
        for _ in range(1000):
            await asyncio.sleep(0)
        # One piece is being handled, one is in the pipe.
        assert STREAM_LIMIT < sent <= STREAM_LIMIT + 3 * 32768
        before = sent
        while sent < before + 2 * STREAM_LIMIT:
            assert await stream.read()
        stream.ignore()
        before = sent
        while sent < before + 2 * STREAM_LIMIT:
            await asyncio.sleep(0)
        flooding.cancel()


async def test_a_client_that_asks_and_does_not_read_is_held_back() -> None:
    """Answers to pings are not kept without end."""
    async with connected() as (client, connection):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await client.send(*[Ping(1)] * 1000)
                sent += 1000

        flooding = asyncio.create_task(flood())
        for _ in range(2000):
            await asyncio.sleep(0)
        assert connection._out_size < 3 * SEND_LIMIT
        stopped = sent
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent == stopped
        flooding.cancel()


async def test_who_writes_waits_for_a_client_that_does_not_read() -> None:
    async with connected() as (client, connection):
        stream = await opened(client, connection)
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                await stream.write(b"x" * 65536)
                written += 65536

        writing = asyncio.create_task(write())
        for _ in range(1000):
            await asyncio.sleep(0)
        assert 0 < written <= 4 * SEND_LIMIT
        # Given up in the middle: the others go on.
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await client.send(Ping(7))
        while await client.next() != Ping(7):
            pass


@pytest.mark.parametrize("how", ["reset", "goodbye", "gone", "garbage"])
async def test_a_stream_ends_with_what_carries_it(how: str) -> None:
    async with connected() as (client, connection):
        stream = await opened(client, connection)
        reading = asyncio.create_task(stream.read())
        if how == "reset":
            await client.send(Reset(1, 5))
        elif how == "goodbye":
            await client.send(GoAway(0))
        elif how == "gone":
            await client.leave()
        else:
            await client.send_bytes(b"\x80\x09garbage!")
            assert await client.next() == GoAway(1, 1)
        assert await reading == b""
        await stream.wait_reset()
        with pytest.raises(ConnectionError):
            await stream.write(b"x")
        if how != "reset":
            assert await connection.accept() is None
            await connection.gone()


async def test_a_broken_connection_ends_everything() -> None:
    client = Client()
    async with SpdyConnection(client) as connection:
        stream = await opened(client, connection)
        client.broken = True
        with pytest.raises(ConnectionError):
            await stream.write(b"x" * 4 * SEND_LIMIT)
        assert await connection.accept() is None


async def test_leaving_in_a_hurry_waits_for_nobody() -> None:
    client = Client()
    with pytest.raises(RuntimeError):
        async with SpdyConnection(client):
            raise RuntimeError
    assert {t.get_name() for t in asyncio.all_tasks()}.isdisjoint({"spdy in", "spdy out"})
