"""Clock: where time comes from, so that tests advance it instead of sleeping."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "Timer", "TravelClock", "deadline"]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not call; no effect once called."""


class Clock(Protocol):
    """Time as informers, queues, controllers and nodes see it."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call on the event loop's thread after ``delay`` seconds."""

    async def sleep(self, delay: float) -> None:
        """Return after ``delay`` seconds."""


@asynccontextmanager
async def deadline(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """As asyncio.timeout, by a clock: what is inside is cancelled then, TimeoutError is raised."""
    async with asyncio.timeout(None) as scope:
        timer = clock.call_later(
            seconds, lambda: scope.reschedule(asyncio.get_running_loop().time())
        )
        try:
            yield
        finally:
            timer.cancel()


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The event loop's time."""
        return asyncio.get_running_loop().time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """The event loop's timer."""
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        """As asyncio's."""
        await asyncio.sleep(delay)


class _Entry:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until :meth:`advance`.

    ``start`` is the wall clock at first, None for the machine's time of now.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime.now(UTC)
        self._elapsed = 0.0
        self._order = count()
        self._due: list[tuple[float, int, _Entry]] = []

    def now(self) -> datetime:
        """The start and what was advanced since."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds advanced."""
        return self._elapsed

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call when time has been advanced by ``delay``."""
        entry = _Entry(callback)
        heapq.heappush(self._due, (self._elapsed + max(delay, 0.0), next(self._order), entry))
        return entry

    async def sleep(self, delay: float) -> None:
        """Return when time has been advanced by ``delay``."""
        await _sleep(self, delay)

    def advance(self, seconds: float) -> None:
        """Let time pass: everything due on the way is called, in order."""
        until = self._elapsed + seconds
        while self._due and self._due[0][0] <= until:
            due, _, entry = heapq.heappop(self._due)
            self._elapsed = max(self._elapsed, due)
            callback, entry.callback = entry.callback, None
            if callback is not None:
                callback()
        self._elapsed = until


class TravelClock:
    """A clock that runs like the machine's and can be put forward: :meth:`advance`.

    ``settle`` is awaited before and after everything that falls due on the way, so that
    what it causes happens at its time; None yields to the event loop once.  ``ahead`` are
    the seconds it is ahead of the machine's clock from the start.  It belongs to one event
    loop.
    """

    def __init__(
        self, settle: Callable[[], Awaitable[None]] | None = None, *, ahead: float = 0.0
    ) -> None:
        self.ahead = ahead
        self._settle = settle or _turn
        self._order = count()
        self._due: list[tuple[float, int, _Entry]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0
        # When the queue is this long, timers that were cancelled are taken out.
        self._limit = 256

    def now(self) -> datetime:
        """The machine's time, UTC, and what was advanced."""
        now = datetime.now(UTC)
        return now + timedelta(seconds=self.ahead) if self.ahead else now

    def monotonic(self) -> float:
        """The event loop's time and what was advanced."""
        return asyncio.get_running_loop().time() + self.ahead

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once ``delay`` seconds have passed or were advanced."""
        entry = _Entry(callback)
        due = self.monotonic() + max(delay, 0.0)
        if len(self._due) >= self._limit:
            # Most timers are cancelled before they are due.
            self._due = [item for item in self._due if item[2].callback is not None]
            heapq.heapify(self._due)
            self._limit = max(256, 2 * len(self._due))
        heapq.heappush(self._due, (due, next(self._order), entry))
        if self._timer is None or due < self._armed:
            self._arm()
        return entry

    async def sleep(self, delay: float) -> None:
        """Return once ``delay`` seconds have passed or were advanced."""
        await _sleep(self, delay)

    async def advance(self, seconds: float) -> None:
        """Put the clock forward; everything due on the way happens, in order, at its time.

        Raises ValueError for a negative number: timers would never come.
        """
        if seconds < 0:
            raise ValueError("a cluster's clock cannot be put back")
        until = self.monotonic() + seconds
        while True:
            await self._settle()
            while self._due and self._due[0][2].callback is None:
                heapq.heappop(self._due)
            if not self._due or self._due[0][0] > until:
                break
            self.ahead += max(0.0, self._due[0][0] - self.monotonic())
            self._call_due()
        self.ahead += max(0.0, until - self.monotonic())
        self._arm()
        await self._settle()

    def close(self) -> None:
        """Call nothing any more."""
        self._due.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._armed = self._due[0][0]
            self._timer = asyncio.get_running_loop().call_at(
                self._armed - self.ahead, self._call_due
            )

    def _call_due(self) -> None:
        # Event loops call timers up to a millisecond early.
        now = self.monotonic() + 1e-3
        while self._due and self._due[0][0] <= now:
            _, _, entry = heapq.heappop(self._due)
            callback, entry.callback = entry.callback, None
            if callback is not None:
                callback()
        self._arm()


async def _turn() -> None:
    await asyncio.sleep(0)


async def _sleep(clock: Clock, delay: float) -> None:
    if delay <= 0:
        await asyncio.sleep(0)
        return
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    timer = clock.call_later(delay, wake)
    try:
        await future
    finally:
        timer.cancel()
