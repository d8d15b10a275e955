"""A process that serves embedded clusters to tests: ``python -m tests.holder SOCKET``.

Who asks knows them by their kubeconfigs.  Each connection to the socket carries one request and
one answer, a line of JSON each; an answer has ``error`` where it went wrong.  Ends, with all it
serves, when its standard input does.  Started by :mod:`tests.elsewhere` alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from cove.engines.embedded import EmbeddedCluster, Fork, embedded
from cove.server.faults import Fault

Doc = dict[str, Any]


class Held:
    """A cluster, and the faults that were asked of it."""

    def __init__(self, cluster: EmbeddedCluster | Fork) -> None:
        self.cluster = cluster
        self.faults: list[Fault] = []
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Holder:
    """What is served, by number."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._made = 0
        # Clusters that nothing was written to, to fork: by what they were made with.
        self._warm: dict[str, EmbeddedCluster] = {}
        self._stack = AsyncExitStack()
        self._warming = asyncio.Lock()

    async def close(self) -> None:
        """End all that is served."""
        for number in list(self._held):
            await self.end(number)
        await self._stack.aclose()

    async def answer(self, asked: Doc) -> Any:
        """What a request is answered; raises whatever goes wrong."""
        return await getattr(self, asked.pop("do"))(**asked)

    # -- clusters

    async def serve(self, options: Doc, listeners: dict[str, int] | None = None) -> Doc:
        """A cluster of its own, made as :func:`cove.embedded` makes it.

        ``listeners`` are ports of its pods, and those of this machine that answer for them.
        """
        made = await self._hold(embedded(**options))
        if listeners is not None:
            from tests.server.streams.local_kubelet import LocalKubelet

            kubelet = self._held[made["number"]].cluster.api.kubelet = LocalKubelet()
            kubelet.ports.update({int(port): here for port, here in listeners.items()})
        return made

    async def fork(self, options: Doc) -> Doc:
        """A copy of one that was made so, and in which nothing has happened."""
        key = json.dumps(options, sort_keys=True)
        async with self._warming:
            if key not in self._warm:
                warm = await self._stack.enter_async_context(embedded(**options))
                await warm.settle()
                self._warm[key] = warm
        return await self._hold(self._warm[key].fork())

    async def copy(self, number: int, options: Doc) -> Doc:
        """A fork of one as it is now; see :meth:`Running.fork`."""
        return await self._hold(self._held[number].cluster.fork(**options))

    async def _hold(self, entering: Any) -> Doc:
        ready: asyncio.Future[Held] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            # Entered and left by one task.
            try:
                async with entering as cluster:
                    held = Held(cluster)
                    ready.set_result(held)
                    await held.over.wait()
            except BaseException as e:
                if ready.done():
                    raise
                ready.set_exception(e)

        task = asyncio.create_task(live())
        held = await ready
        held.task = task
        self._made += 1
        self._held[self._made] = held
        return {"number": self._made, "kubeconfig": held.cluster.kubeconfig}

    async def end(self, number: int) -> None:
        """End one."""
        held = self._held.pop(number)
        held.over.set()
        if held.task is not None:
            await held.task

    # -- what tests do to its server

    async def settle(self, number: int) -> None:
        """See :meth:`Running.settle`."""
        await self._held[number].cluster.settle()

    async def advance(self, number: int, seconds: float) -> None:
        """Let time pass there; see :class:`cove.client.TravelClock`."""
        await self._held[number].cluster.clock.advance(seconds)

    async def restart(self, number: int) -> None:
        """See :meth:`EmbeddedCluster.restart`."""
        cluster = self._held[number].cluster
        assert isinstance(cluster, EmbeddedCluster), "a fork's server is not its own"
        await cluster.restart()

    async def faults(self, number: int, method: str, args: list[Any], options: Doc) -> int | None:
        """Call a method of its faults; the number of the fault that this made."""
        held = self._held[number]
        made = getattr(held.cluster.faults, method)(*args, **options)
        if not isinstance(made, Fault):
            return None
        held.faults.append(made)
        return len(held.faults) - 1

    async def fault(self, number: int, fault: int, *, lift: bool) -> Doc:
        """How often a fault struck; it is lifted, or goes on."""
        found = self._held[number].faults[fault]
        if lift:
            found.lift()
        return {"hits": found.hits, "seen": found.seen}

    async def recount(self, number: int, fault: int, count: int | None) -> None:
        """Have a fault strike so often in all."""
        self._held[number].faults[fault].count = count


@asynccontextmanager
async def listening(path: str) -> AsyncIterator[None]:
    """The socket, answered."""
    holder = Holder()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                answer = {"answer": await holder.answer(json.loads(await reader.readline()))}
            except Exception as e:  # whoever asked is told, whatever it was
                answer = {"error": f"{type(e).__name__}: {e}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_unix_server(talk, path, limit=1 << 24)
    try:
        yield
    finally:
        server.close()
        await holder.close()


async def main(path: str) -> None:
    """Serve until standard input ends."""
    async with listening(path):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
