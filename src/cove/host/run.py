"""A resource that runs: what it may ask and tell, and the lane that starts and ends it.

Each resource of an application has one lane, a task of the host.  It waits for what the
resource needs, runs it, tells how it went, and waits to be started again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from cove.host.board import Board, explain
from cove.host.errors import ResourceError
from cove.host.graph import Edge, Need
from cove.host.references import Provider
from cove.host.resource import Resource
from cove.host.states import STOPPED, State, Status
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.client import Clock
    from cove.engines.cluster import Cluster
    from cove.host.host import Host

__all__ = ["Lane", "NeedFailedError", "Run"]

log = logging.getLogger("cove.host")


class Run:
    """One run of a resource: how it reaches the host, and how it tells what it does."""

    def __init__(self, host: Host, resource: Resource) -> None:
        self.host = host
        self.name = resource.name
        # Set by what has an exit code, also when it is stopped.
        self.exit_code: int | None = None
        # Whether it has been well, or at work, since it started.
        self.was_running = False
        self._parent = resource.parent

    @property
    def clock(self) -> Clock:
        """What delays go by."""
        return self.host.clock

    @property
    def cluster(self) -> Cluster:
        """The cluster that the resource belongs to; it runs."""
        assert self._parent is not None
        return self.host.cluster(self._parent.name)

    @property
    def hurry(self) -> asyncio.Event:
        """Set when nothing is to be waited for any more: end at once."""
        return self.host.hurry

    def log(self, text: str) -> None:
        """Say something in the resource's log; several lines are several lines."""
        for line in text.splitlines() or [""]:
            self.host.logs.write(self.name, line)

    def provide(self, provider: Provider) -> None:
        """Give those who refer to the resource what they need, until its run ends."""
        self.host.provide(self.name, provider)

    async def starting(self, reason: str) -> None:
        """Tell what the start is waiting for."""
        await self._publish(State.STARTING, reason=reason)

    async def running(self, reason: str = "", **changes: Any) -> None:
        """Tell that it is well; ``url`` and ``properties`` may be told with it."""
        self.was_running = True
        await self._publish(State.RUNNING, reason=reason, **changes)

    async def finished(self, reason: str = "") -> None:
        """Tell that it has succeeded, though it goes on to look after what it did."""
        self.was_running = True
        await self._publish(State.FINISHED, reason=reason)

    async def unhealthy(self, reason: str) -> None:
        """Tell that it runs, but not as it should, and why."""
        await self._publish(State.UNHEALTHY, reason=reason)

    async def tell(self, *, url: str | None = None, **properties: str) -> None:
        """Tell facts about it, whatever its state; ``url`` None leaves that as it is."""
        status = self.host.board[self.name]
        changes: dict[str, Any] = {"properties": {**status.properties, **properties}}
        if url is not None:
            changes["url"] = url
        await self.host.board.publish(self.name, **changes)

    async def _publish(self, state: State, **changes: Any) -> None:
        properties = changes.pop("properties", None)
        if properties is not None:
            before = self.host.board[self.name].properties
            changes["properties"] = {**before, **properties}
        await self.host.board.publish(self.name, state=state, **changes)


class Lane:
    """Starts and ends one resource, again and again; :meth:`serve` is its task."""

    def __init__(self, host: Host, resource: Resource, needs: tuple[Edge, ...]) -> None:
        self._host = host
        self._resource = resource
        self._needs = needs
        self._go = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._current: asyncio.Task[None] | None = None
        # Whether it was ended by somebody's wish, and so is nobody's failure.
        self.by_hand = False
        self._ending = False
        if not resource.explicit:
            self._go.set()

    @property
    def _board(self) -> Board:
        return self._host.board

    @property
    def name(self) -> str:
        """The resource's."""
        return self._resource.name

    # -- what the host asks

    async def start(self) -> None:
        """Start it unless it runs."""
        self.by_hand = False
        if self._current is None:
            # Whoever waits for it from now on waits for this start.
            await self._tell(State.WAITING, "it is about to start", exit_code=None)
            self._go.set()

    async def stop(self) -> None:
        """End it, and return when nothing of it runs; it stays ended until it is started."""
        self.by_hand = True
        self._go.clear()
        if self._current is not None:
            self._cancel()
            await self._idle.wait()
        elif self._board[self.name].because_of:
            # It would follow what it depends on.
            await self._tell(State.NOT_STARTED, STOPPED)

    def _cancel(self) -> None:
        """Cancel the run, once: its cleaning up is not to be cancelled."""
        if self._current is not None and not self._ending:
            self._ending = True
            self._current.cancel()

    async def restart(self) -> None:
        """End and start it."""
        await self.stop()
        await self.start()

    # -- its own task

    async def serve(self) -> None:
        """Until cancelled; nothing of the resource runs then."""
        if self._resource.explicit:
            await self._tell(State.NOT_STARTED, f"it is started on demand: cove start {self.name}")
        while True:
            await self._until_wanted()
            self._go.clear()
            self._idle.clear()
            self._ending = False
            self._current = asyncio.create_task(self._once(), name=f"run of {self.name}")
            try:
                await asyncio.wait((self._current,))
            except asyncio.CancelledError:
                self._cancel()
                await asyncio.wait((self._current,))
                raise
            finally:
                self._current = None
                self._idle.set()

    async def _until_wanted(self) -> None:
        """Return when it is to start: told to, or what it failed for is on its way again."""
        while not self._go.is_set():
            cause = self._board[self.name].because_of
            if not cause or self.by_hand:
                await self._go.wait()
                return
            told = asyncio.create_task(self._go.wait(), name=f"start of {self.name}")
            better = asyncio.create_task(
                self._board.until(lambda cause=cause: not self._board[cause].failed),  # type: ignore[misc]
                name=f"{self.name} for {cause}",
            )
            try:
                await asyncio.wait((told, better), return_when=asyncio.FIRST_COMPLETED)
                if better.done() and not self.by_hand:
                    return
            finally:
                await _end(told, better)

    async def _once(self) -> None:
        run = Run(self._host, self._resource)
        try:
            await self._until_ready()
            await self._tell(State.STARTING, "", exit_code=None)
            code = await self._work(run)
        except asyncio.CancelledError:
            await self._stopped(run)
            raise
        except NeedFailedError as e:
            await self._failed(run, str(e), because_of=e.status.name)
        except CoveError as e:
            run.log(str(e))
            await self._failed(run, str(e))
        except Exception as e:
            # The boundary: one resource's bug is told and does not end the others.
            log.exception("%s failed", self.name)
            run.log(f"{type(e).__name__}: {e}")
            await self._failed(run, f"{type(e).__name__}: {e}")
        else:
            if code:
                await self._failed(run, f"it ended with exit code {code}")
            else:
                await self._tell(State.FINISHED, "", exit_code=code)
        finally:
            self._host.withdraw(self.name)

    async def _work(self, run: Run) -> int | None:
        """Run it, as long as nothing that it needs fails."""
        work = asyncio.create_task(self._resource.run(run), name=self.name)
        watch = asyncio.create_task(self._a_need_fails(), name=f"needs of {self.name}")
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise NeedFailedError(watch.result(), "it was stopped")
        finally:
            await _end(work, watch)

    async def _stopped(self, run: Run) -> None:
        state = self._board[self.name].state
        if state in (State.WAITING, State.NOT_STARTED):
            await self._tell(State.NOT_STARTED, STOPPED)
        else:
            await self._tell(State.EXITED, STOPPED, exit_code=run.exit_code, url="")

    async def _failed(self, run: Run, reason: str, because_of: str = "") -> None:
        state = State.EXITED if run.was_running else State.FAILED_TO_START
        await self._tell(state, reason, exit_code=run.exit_code, url="", because_of=because_of)

    async def _tell(self, state: State, reason: str, **changes: Any) -> Status:
        """Publish a state that is about the lane, not about the work."""
        fresh: Mapping[str, Any] = {"waiting_for": (), "because_of": ""}
        return await self._board.publish(
            self.name, **{**fresh, "state": state, "reason": reason, **changes}
        )

    # -- what it needs

    async def _until_ready(self) -> None:
        """Return when nothing is missing; raises NeedFailedError once that cannot come."""
        while True:
            missing = [edge for edge in self._needs if not self._met(edge)]
            for edge in missing:
                status = self._board[edge.target]
                if status.failed:
                    raise NeedFailedError(
                        status, "it was not started", self._board.chain(edge.target)
                    )
            if not missing:
                return
            names = tuple(dict.fromkeys(edge.target for edge in missing))
            reason = f"for {', '.join(names)}"
            await self._tell(State.WAITING, reason, waiting_for=names, exit_code=None)
            await self._board.until(partial(self._any_settled, missing))

    def _any_settled(self, edges: Iterable[Edge]) -> bool:
        return any(self._met(edge) or self._board[edge.target].failed for edge in edges)

    def _met(self, edge: Edge) -> bool:
        status = self._board[edge.target]
        if edge.need is Need.REFERENCE:
            if self._host.app.resources[edge.target].kind == "image":
                return status.completed  # its name is what it gives
            return self._host.provided(edge.target) is not None
        return status.meets("completed" if edge.need is Need.COMPLETED else "healthy")

    async def _a_need_fails(self) -> Status:
        """The status of something it needs all the time, once that has failed."""
        lasting = [e.target for e in self._needs if e.need is not Need.COMPLETED]

        found: list[Status] = []

        def failed() -> bool:
            found[:] = [
                status
                for name in lasting
                if (status := self._board[name]).failed and not self._host.ended_by_hand(name)
            ]
            return bool(found)

        await self._board.until(failed)
        return found[0]


class NeedFailedError(ResourceError):
    """What a resource needs has failed."""

    def __init__(self, status: Status, what: str, chain: list[Status] | None = None) -> None:
        self.status = status
        super().__init__(f"{what}: {explain(chain or [status])}")


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their ends, whatever these are."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
