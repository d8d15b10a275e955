"""Replicas of an operator under test, and time that is let pass for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.elsewhere import answered, outstanding

from cove.client import ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.operator.leadership.elector import Elector
from cove.operator.leadership.lease import LEASES
from cove.operator.settings import Leadership

__all__ = ["Replica", "Time", "lease_of", "leaving_nothing", "standing"]

NAME = "cache-operator"
START = datetime(2026, 5, 4, tzinfo=UTC)


class Time:
    """Clocks that run alike, whatever they show, and are advanced together."""

    def __init__(self) -> None:
        self._clocks: list[ManualClock] = []
        self.elapsed = 0.0

    def clock(self, skew: float = 0.0) -> ManualClock:
        clock = ManualClock(START + timedelta(seconds=skew))
        clock.advance(self.elapsed)
        self._clocks.append(clock)
        return clock

    async def settle(self, turns: int = 40) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        while outstanding():
            await answered()
            for _ in range(turns):
                await asyncio.sleep(0)

    async def pass_by(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass in steps, each with what it causes."""
        until = self.elapsed + seconds
        await self.settle()
        while self.elapsed < until - 1e-9:
            self.elapsed += step
            for clock in self._clocks:
                clock.advance(step)
            await self.settle()

    async def until(self, what: Callable[[], Any], most: float = 120) -> float:
        """Let time pass until it is so; the seconds that took."""
        began = self.elapsed
        await self.settle()
        while not what():
            assert self.elapsed - began < most, "it never was so"
            await self.pass_by(0.5)
        return self.elapsed - began


class Replica:
    """An elector and what its work has seen."""

    def __init__(self, elector: Elector) -> None:
        self.elector = elector
        self.working = False
        self.terms = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def leading(self) -> bool:
        return self.elector.leading

    async def work(self) -> None:
        self.terms += 1
        self.working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.working = False

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def standing(
    api: EmbeddedCluster,
    time: Time,
    identity: str,
    *,
    times: Leadership | None = None,
    skew: float = 0.0,
    work: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Replica]:
    """A replica that stands for leadership; its client's agent is its identity."""
    elector = Elector(
        api.client.named(identity), NAME, "default", identity, times, time.clock(skew)
    )
    replica = Replica(elector)
    async with elector:
        replica.task = asyncio.create_task(elector.lead(work or replica.work))
        try:
            yield replica
        finally:
            await replica.stop()


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """No task of a replica outlives it."""
    before = asyncio.all_tasks()
    yield
    left = [t for t in asyncio.all_tasks() - before if not t.done() and NAME in t.get_name()]
    assert not left, left


async def lease_of(api: EmbeddedCluster, name: str = NAME) -> dict[str, Any]:
    spec: dict[str, Any] = (await api.client.get(LEASES, name, "default"))["spec"]
    return spec
