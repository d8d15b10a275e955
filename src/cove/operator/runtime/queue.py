"""KeyQueue: keys to reconcile, each once and never twice at a time, the urgent ones first.

The order is fair: a key that waits becomes more urgent, one step of priority every ``ageing``
seconds, so that a storm of urgent keys cannot keep others waiting for ever.  What a key is
worth can be told when it is added, since all of them age alike.

Source: https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Generic, Protocol, TypeVar

from cove.client import Clock, SystemClock
from cove.client.clock import Timer

__all__ = ["KeyQueue", "Observer", "QueueEndedError"]

K = TypeVar("K")

# Seconds of waiting that are worth one step of priority.
AGEING = 0.1


class QueueEndedError(Exception):
    """The queue was closed and nothing waits in it."""


class Observer(Protocol):
    """Who counts what happens to a queue; calls return at once."""

    def added(self) -> None:
        """A key was added that did not wait already."""

    def taken(self, waited: float) -> None:
        """A key was handed out after so many seconds."""

    def finished(self, took: float) -> None:
        """The work on a key took so many seconds."""

    def retried(self) -> None:
        """A key was added after a failure."""


class _Nobody:
    def added(self) -> None: ...
    def taken(self, waited: float) -> None: ...
    def finished(self, took: float) -> None: ...
    def retried(self) -> None: ...


class KeyQueue(Generic[K]):
    """Holds every key at most once; see the module."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        ageing: float = AGEING,
        observer: Observer | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._ageing = ageing
        self._observer: Observer = observer or _Nobody()
        # Keys that wait: what they are worth (less is sooner), and since when they do.
        self._waiting: dict[K, tuple[float, float]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()
        # Keys that are being worked on, since when, and those added meanwhile.
        self._working: dict[K, float] = {}
        self._again: dict[K, int] = {}
        self._due: dict[K, tuple[float, int]] = {}
        self._later: list[tuple[float, int, K]] = []
        self._timer: tuple[float, Timer] | None = None
        self._getters: deque[asyncio.Future[None]] = deque()
        self.closed = False

    def __len__(self) -> int:
        """How many keys wait."""
        return len(self._waiting)

    @property
    def delayed(self) -> int:
        """How many keys will be added later."""
        return len(self._due)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    @property
    def at_work(self) -> Iterable[K]:
        """The keys that are being worked on."""
        return self._working.keys()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being worked on."""
        return not self._waiting and not self._working

    def add(self, key: K, priority: int = 0) -> None:
        """Have ``key`` worked on; one that waits already is only made more urgent, if it is."""
        if self.closed:
            return
        if key in self._working:
            self._again[key] = max(priority, self._again.get(key, priority))
            return
        now = self._clock.monotonic()
        known = self._waiting.get(key)
        if known is None:
            self._observer.added()
        since = now if known is None else known[1]
        worth = since / self._ageing - priority if self._ageing else float(-priority)
        if known is not None and known[0] <= worth:
            return
        self._waiting[key] = (worth, since)
        heapq.heappush(self._heap, (worth, next(self._order), key))
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    async def get(self) -> K:
        """The most urgent key, to be given back with :meth:`done`; raises QueueEndedError."""
        while not self._waiting:
            if self.closed:
                raise QueueEndedError
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # The wake-up that this one may have used up belongs to the next.
                if getter.done() and not getter.cancelled() and self._waiting:
                    self._wake()
                raise
        return self._take()

    def _take(self) -> K:
        while True:
            worth, _, key = heapq.heappop(self._heap)
            known = self._waiting.get(key)
            # What was made more urgent meanwhile has a better entry.
            if known is not None and known[0] == worth:
                break
        del self._waiting[key]
        now = self._clock.monotonic()
        self._working[key] = now
        self._observer.taken(max(now - known[1], 0.0))
        return key

    def done(self, key: K) -> None:
        """The work on ``key`` has ended; if it was added meanwhile, it waits again."""
        began = self._working.pop(key)
        self._observer.finished(max(self._clock.monotonic() - began, 0.0))
        priority = self._again.pop(key, None)
        if priority is not None:
            self.add(key, priority)

    def add_after(self, key: K, delay: float, priority: int = 0) -> None:
        """Add in ``delay`` seconds; of several delays of a key the earliest counts."""
        if self.closed:
            return
        if delay <= 0:
            self.add(key, priority)
            return
        due = self._clock.monotonic() + delay
        known = self._due.get(key)
        if known is not None and known[0] <= due:
            return
        self._due[key] = (due, priority)
        heapq.heappush(self._later, (due, next(self._order), key))
        self._arm()

    def retry(self, key: K, delay: float) -> None:
        """Add after a failure, in ``delay`` seconds."""
        self._observer.retried()
        self.add_after(key, delay)

    def forget_delays(self, key: K) -> None:
        """Drop what was to be added later: it has become needless."""
        self._due.pop(key, None)

    def _arm(self) -> None:
        """One timer for all that comes later, set for the first."""
        while self._later and self._later[0][2] not in self._due:
            heapq.heappop(self._later)
        if not self._later:
            return
        due = self._later[0][0]
        if self._timer is not None:
            if self._timer[0] <= due:
                return
            self._timer[1].cancel()
        delay = max(due - self._clock.monotonic(), 0.0)
        self._timer = (due, self._clock.call_later(delay, self._fire))

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now + 1e-9:
            due, _, key = heapq.heappop(self._later)
            known = self._due.get(key)
            if known is not None and known[0] == due:
                del self._due[key]
                self.add(key, known[1])
        self._arm()

    def close(self, *, drop: bool = False) -> None:
        """Take no more; what waits is still handed out unless ``drop``, what comes later is not."""
        self.closed = True
        if drop:
            self._waiting.clear()
            self._heap.clear()
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        self._later.clear()
        self._due.clear()
        self._again.clear()
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
