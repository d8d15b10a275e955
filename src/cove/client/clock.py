"""Clock: where time comes from, so that tests advance it instead of sleeping."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "Timer"]


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
        if delay <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        timer = self.call_later(delay, wake)
        try:
            await future
        finally:
            timer.cancel()

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
