"""WorkQueue: keys to reconcile, each once at a time, retried with growing delays.

The semantics are those of client-go's rate-limiting queue: a key added while it is being
worked on is handed out again after :meth:`WorkQueue.done`, never at the same time.

Source: https://pkg.go.dev/k8s.io/client-go/util/workqueue
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from itertools import count
from typing import Generic, TypeVar

from cove.client.clock import Clock, SystemClock, Timer

__all__ = ["QueueClosed", "WorkQueue"]

K = TypeVar("K")


class QueueClosed(Exception):  # noqa: N818 - an end, not a fault
    """The queue was closed and has nothing left."""


class WorkQueue(Generic[K]):
    """Unbounded, but holds every key at most once.

    A failing key is retried after ``base`` seconds, doubled each time up to ``limit``
    (client-go: 5 ms and 1000 s).
    """

    def __init__(
        self, *, clock: Clock | None = None, base: float = 0.005, limit: float = 1000.0
    ) -> None:
        self._clock = clock or SystemClock()
        self._base = base
        self._limit = limit
        self._queue: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        # Delayed keys by due time; only the earliest due time of a key counts.
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()
        self._timer: tuple[float, Timer] | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """True if nothing waits or is being worked on; delayed keys do not count."""
        return not self._queue and not self._processing

    def add(self, key: K) -> None:
        """Have ``key`` worked on; nothing if it already waits or the queue is closed."""
        if self.closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key in self._processing:
            return
        self._queue.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def get(self) -> K:
        """The next key, to be given back with :meth:`done`.  Raises QueueClosed."""
        while not self._queue:
            if self.closed:
                raise QueueClosed
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # The wake-up this waiter may have consumed belongs to the next one.
                if waiter.done() and not waiter.cancelled() and self._queue:
                    self._wake()
                raise
        return self._take()

    def get_nowait(self) -> K | None:
        """The next key, None if there is none right now."""
        return self._take() if self._queue else None

    def _take(self) -> K:
        key = self._queue.popleft()
        self._processing.add(key)
        self._dirty.discard(key)
        return key

    def done(self, key: K) -> None:
        """The work on ``key`` has ended, well or not; if it was added meanwhile, it waits again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._queue.append(key)
            self._wake()

    def add_after(self, key: K, delay: float) -> None:
        """Add in ``delay`` seconds; of several delays of a key the earliest counts."""
        if self.closed:
            return
        if delay <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + delay
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._arm()

    def _arm(self) -> None:
        """One timer for all delayed keys, set for the earliest."""
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer[0] <= due:
                return
            self._timer[1].cancel()
        delay = max(due - self._clock.monotonic(), 0.0)
        self._timer = (due, self._clock.call_later(delay, self._fire))

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now + 1e-9:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._arm()

    def add_rate_limited(self, key: K) -> None:
        """Add after the delay that the key's failures so far have earned."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._base * 2.0 ** min(failures, 60), self._limit))

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure is its first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often the key was added rate-limited since it was last forgotten."""
        return self._failures.get(key, 0)

    def close(self) -> None:
        """Take no more keys; delayed ones are dropped, waiting ones still handed out."""
        self.closed = True
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        self._heap.clear()
        self._due.clear()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
