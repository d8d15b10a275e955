"""Host: an application that runs, the owner of everything that belongs to it.

Entering checks the graph, takes the application's folder and starts one lane for each
resource; leaving ends them in reverse order and returns when nothing is left::

    $COVE_HOME/apps/NAME/     0700
        app.json              who runs it (pid), where its control socket is
        lock                  held by the process that runs it
        logs/NAME.log         what resources say; logs.1 are those of the last session
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from cove.client import SystemClock
from cove.host.board import Board, UnknownResourceError
from cove.host.errors import ResourceError
from cove.host.folder import AppFolder
from cove.host.health import Prober
from cove.host.logs import LogBook
from cove.host.run import Lane
from cove.host.states import State, Status, Want
from cove.host.sweep import SESSION, session_of, sweep

if TYPE_CHECKING:
    from cove.client import Client, Clock
    from cove.engines.cluster import Cluster
    from cove.host.app import App
    from cove.host.engine import Engines
    from cove.host.graph import Graph
    from cove.host.references import Provider

__all__ = ["Host"]

log = logging.getLogger("cove.host")


class Host:
    """``async with app.run() as host``; see the module and :meth:`App.run`."""

    def __init__(
        self,
        app: App,
        *,
        engine: str | None = None,
        container_engine: str | None = None,
        context: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.app = app
        self.engine = engine
        self.container_engine = container_engine
        self.context = context
        self.clock: Clock = clock or SystemClock()
        # Set when nothing is to be waited for any more.
        self.hurry = asyncio.Event()
        # Set when somebody asks for its end, with ``cove down``.
        self.down = asyncio.Event()
        # Whether what is persistent ends as well.
        self.discarding = False
        self.prober = Prober()
        self.folder = AppFolder(app.name)
        self.graph: Graph = app.graph
        self.board: Board
        self.logs: LogBook
        self.engines: Engines
        self._stack = AsyncExitStack()
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._providers: dict[str, Provider] = {}
        self._clusters: dict[str, Cluster] = {}

    # -- its life

    async def __aenter__(self) -> Self:
        self.app.check()
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        from cove.host.control import ControlServer
        from cove.host.engine import Engines

        stack.enter_context(self.folder.taken())
        # What an earlier session left that was killed.
        await asyncio.to_thread(sweep, session_of(self.folder))
        self.folder.begin_logs()
        self.logs = LogBook(self.folder.logs, self.clock)
        stack.callback(self.logs.close)
        self.board = Board((self._first(name) for name in self.app.resources), self.clock)
        await stack.enter_async_context(self.prober)
        self.engines = await stack.enter_async_context(Engines(self))
        stack.push_async_callback(self._sweep)
        stack.push_async_callback(self._end)
        control = await stack.enter_async_context(ControlServer(self))
        self.folder.announce(control.socket, self.app)
        for name, resource in self.app.resources.items():
            lane = self._lanes[name] = Lane(self, resource, tuple(self.graph.needs(name)))
            self._tasks[name] = asyncio.create_task(lane.serve(), name=f"lane of {name}")

    def _first(self, name: str) -> Status:
        resource = self.app.resources[name]
        parent = resource.parent.name if resource.parent is not None else ""
        return Status(
            name=name, kind=resource.kind, parent=parent, properties=dict(resource.properties)
        )

    async def _sweep(self) -> None:
        """End what processes left behind that went out of their groups."""
        await asyncio.to_thread(sweep, session_of(self.folder))

    async def _end(self) -> None:
        """End every lane, who needs others before these."""
        for level in reversed(self.graph.order()):
            tasks = [self._tasks[name] for name in level if name in self._tasks]
            for task in tasks:
                task.cancel()
            await _all_ended(tasks)

    # -- what a program asks

    def status(self, name: str | None = None) -> list[Status]:
        """The status of a resource, or of all; raises UnknownResourceError."""
        return list(self.board) if name is None else [self.board[name]]

    async def wait(self, name: str, want: Want = "healthy", timeout: float | None = None) -> Status:
        """Return when a resource is healthy, or has completed.

        Raises BlockedError once that cannot happen any more and WaitTimeoutError after
        ``timeout`` seconds, both with the chain of what stands in the way.
        """
        return await self.board.wait(name, want, timeout)

    async def ready(self, timeout: float | None = None) -> None:
        """Return when all that starts by itself is healthy or has completed.

        Raises as :meth:`wait`, for the first that does not.
        """
        limit = None if timeout is None else self.clock.monotonic() + timeout
        # One that was well may fail while another is waited for: all have to be at once.
        while missing := self.missing():
            left = None if limit is None else max(limit - self.clock.monotonic(), 0.0)
            await self.wait(missing[-1], timeout=left)

    def missing(self) -> list[str]:
        """What starts by itself and is neither healthy nor has completed, now."""
        return [
            name
            for name, resource in self.app.resources.items()
            if not (self.board[name].healthy or resource.explicit or self._on_demand(name))
        ]

    def _on_demand(self, name: str) -> bool:
        """Whether something that a resource needs is started on demand only."""
        return any(
            self.app.resources[edge.target].explicit or self._on_demand(edge.target)
            for edge in self.graph.needs(name)
        )

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing will by itself."""
        return all(s.ended and s.state is not State.NOT_STARTED for s in self.board)

    def url(self, name: str) -> str:
        """Where a resource is reached from this machine; raises ResourceError if it is not yet."""
        url = self.board[name].url
        if not url:
            raise ResourceError(f"{name} has no URL: {self.board[name]}")
        return url

    def cluster(self, name: str) -> Cluster:
        """A cluster that runs; raises ResourceError."""
        found = self._clusters.get(name)
        if found is None:
            raise ResourceError(f"{name} is no cluster that runs: {self.board[name]}")
        return found

    def client(self, name: str) -> Client:
        """An administrator's client of a cluster that runs; raises ResourceError."""
        return self.cluster(name).client

    # -- single resources

    def lane(self, name: str) -> Lane:
        """Who starts and ends a resource; raises UnknownResourceError."""
        try:
            return self._lanes[name]
        except KeyError:
            raise UnknownResourceError(name, self._lanes) from None

    async def start(self, name: str) -> None:
        """Start a resource that does not run, and what it needs that was not started."""
        lane = self.lane(name)
        for edge in self.graph.needs(name):
            if self.board[edge.target].ended and not self.board[edge.target].completed:
                await self.start(edge.target)
        await lane.start()

    async def stop(self, name: str) -> None:
        """End a resource and its children; return when nothing of them runs.

        Who waited for it goes on.
        """
        lane = self.lane(name)
        for child in self._children(name):
            await self.stop(child)
        await lane.stop()

    async def restart(self, name: str) -> None:
        """End a resource and start it again, and its children with it."""
        lane = self.lane(name)
        children = [
            child
            for child in self._children(name)
            if not (self.app.resources[child].explicit and self.board[child].ended)
        ]
        await self.stop(name)
        await lane.start()
        for child in children:
            await self.lane(child).start()

    def _children(self, name: str) -> list[str]:
        """What belongs to a resource, the last declared first."""
        found = (r for r in self.app.resources.values() if r.parent is not None)
        return [r.name for r in found if r.parent is not None and r.parent.name == name][::-1]

    def discard(self) -> None:
        """Have leaving end what is persistent as well: clusters and containers."""
        self.discarding = True
        for cluster in self._clusters.values():
            cluster.discard()

    def ended_by_hand(self, name: str) -> bool:
        """Whether somebody stopped it, so that it has not failed."""
        return self._lanes[name].by_hand

    # -- what resources give each other

    def provide(self, name: str, provider: Provider) -> None:
        """Keep what a resource gives those who refer to it."""
        self._providers[name] = provider

    def provided(self, name: str) -> Provider | None:
        """What a resource gives, None as long as it gives nothing."""
        return self._providers.get(name)

    def withdraw(self, name: str) -> None:
        """It gives nothing any more."""
        self._providers.pop(name, None)
        self._clusters.pop(name, None)

    def register(self, name: str, cluster: Cluster) -> None:
        """A cluster runs."""
        self._clusters[name] = cluster

    @property
    def session(self) -> dict[str, str]:
        """What marks every process of this session, in its environment."""
        return {SESSION: session_of(self.folder)}


async def _all_ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait for the end of cancelled tasks, also when whoever waits is cancelled meanwhile."""
    cancelled = False
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
