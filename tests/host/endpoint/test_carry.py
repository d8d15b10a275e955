"""The bytes of a connection: who ends first, who breaks off, who is silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cove.client import ManualClock, PortForwardError
from cove.host.endpoint._carry import LINGER, carry


class Pod:
    """A connection into a pod; ``says`` is what it says, None its end."""

    protocol = "test"

    def __init__(self, *, half_close: bool) -> None:
        self.half_close = half_close
        self.says: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def read(self) -> bytes:
        said = await self.says.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def write(self, data: bytes) -> None:
        self.heard.put_nowait(data)

    async def write_eof(self) -> None:
        self.closed.set()


class Carried:
    """A client's end, the pod's end, and the task between them."""

    def __init__(
        self, pod: Pod, clock: ManualClock, client: socket.socket, task: asyncio.Task[None]
    ) -> None:
        self.pod = pod
        self.clock = clock
        self.client = client
        self.task = task

    async def read(self) -> bytes:
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self.client, 1000)

    async def is_waited_for(self, seconds: float) -> bool:
        """Whether it goes on after that much time."""
        await asyncio.sleep(0.01)
        self.clock.advance(seconds)
        await asyncio.sleep(0.01)
        return not self.task.done()


@asynccontextmanager
async def carried(*, half_close: bool = True) -> AsyncIterator[Carried]:
    ours, client = socket.socketpair()
    pod, clock = Pod(half_close=half_close), ManualClock()
    with ours, client:
        ours.setblocking(False)
        client.setblocking(False)
        task = asyncio.create_task(carry(ours, pod, clock))
        async with asyncio.timeout(30):
            yield Carried(pod, clock, client, task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left = [t for t in asyncio.all_tasks() if "endpoint" in t.get_name()]
    assert left == []


async def test_bytes_go_both_ways() -> None:
    async with carried() as c:
        c.client.send(b"question")
        assert await c.pod.heard.get() == b"question"
        c.pod.says.put_nowait(b"answer")
        assert await c.read() == b"answer"


async def test_the_pod_is_told_that_the_client_has_ended_and_answers_for_as_long_as_it_likes() -> (
    None
):
    async with carried() as c:
        c.client.shutdown(socket.SHUT_WR)
        await c.pod.closed.wait()
        assert await c.is_waited_for(10 * LINGER)
        c.pod.says.put_nowait(b"answer")
        c.pod.says.put_nowait(b"")
        assert await c.read() == b"answer"
        assert await c.read() == b""
        await c.task


async def test_a_pod_that_cannot_be_told_of_the_end_may_answer_until_it_is_silent() -> None:
    """Or the connections of clients that are long gone would pile up."""
    async with carried(half_close=False) as c:
        c.client.shutdown(socket.SHUT_WR)
        await c.pod.closed.wait()
        for _ in range(3):
            c.pod.says.put_nowait(b"more")
            assert await c.read() == b"more"
            assert await c.is_waited_for(LINGER - 1)
            c.pod.says.put_nowait(b"more")
            assert await c.read() == b"more"
            assert await c.is_waited_for(1)
        assert await c.is_waited_for(LINGER - 1)
        assert not await c.is_waited_for(1)
        await c.task


async def test_after_the_pods_end_the_client_may_go_on_until_it_is_silent() -> None:
    async with carried() as c:
        c.pod.says.put_nowait(b"bye")
        c.pod.says.put_nowait(b"")
        assert await c.read() == b"bye"
        assert await c.read() == b""
        c.client.send(b"more")
        assert await c.pod.heard.get() == b"more"
        assert await c.is_waited_for(LINGER)
        assert not await c.is_waited_for(LINGER)
        await c.task


async def test_both_ends_are_the_end() -> None:
    async with carried() as c:
        c.pod.says.put_nowait(b"")
        assert await c.read() == b""
        c.client.close()
        await c.task


async def test_a_pod_that_breaks_off_is_the_connections_error() -> None:
    async with carried() as c:
        c.pod.says.put_nowait(PortForwardError("broke off"))
        with pytest.raises(PortForwardError, match="broke off"):
            await c.task


async def test_a_client_that_is_gone_ends_it() -> None:
    async with carried() as c:
        c.client.close()
        await c.pod.closed.wait()
        c.pod.says.put_nowait(b"to nobody")
        with pytest.raises(OSError):
            await c.task
