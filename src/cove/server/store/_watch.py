"""A watcher: the bounded queue between the store and one open watch."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cove.client.clock import Clock
    from cove.server.store._store import Event

__all__ = ["Watcher"]

# A client that stops reading is cut off once this many events wait for it; it lists and
# watches again.  Upstream's watch cache does the same with its own sizes (10–1,000).
LIMIT = 16_384


class Watcher:
    """Events that wait for one watch.  ``overrun`` tells that it was closed for being slow."""

    __slots__ = ("_events", "_wake", "closed", "inside", "limit", "overrun")

    def __init__(self, limit: int = LIMIT, *, inside: bool = False) -> None:
        self._events: deque[Event] = deque()
        self._wake: asyncio.Future[None] | None = None
        self.limit = limit
        # Whether its reader is in this process: one that never waits for a network.
        self.inside = inside
        self.closed = False
        self.overrun = False

    def offer(self, event: Event) -> None:
        """Queue an event; past the limit the watch is closed instead."""
        if self.closed:
            return
        if len(self._events) >= self.limit:
            self.overrun = True
            self._events.clear()
            self.close()
            return
        self._events.append(event)
        self.wake()

    def close(self) -> None:
        """No more events: the reader drains what is queued and ends."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Have the reader look up now, whether or not there is something to drain."""
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_result(None)

    def drain(self) -> list[Event]:
        """What is queued now, possibly nothing."""
        events = list(self._events)
        self._events.clear()
        return events

    @property
    def waiting(self) -> bool:
        """Whether there is something to drain."""
        return bool(self._events)

    async def wait(self, timeout: float | None, clock: Clock) -> bool:
        """Until there is something to drain or the watch is closed; False on a time-out or :meth:`wake`.

        ``timeout`` in seconds of ``clock``, None for no limit.
        """
        if self._events or self.closed:
            return True
        wake = self._wake = asyncio.get_running_loop().create_future()
        timer = None if timeout is None else clock.call_later(timeout, partial(self._expire, wake))
        try:
            await wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()
        return bool(self._events) or self.closed

    @staticmethod
    def _expire(wake: asyncio.Future[None]) -> None:
        if not wake.done():
            wake.set_result(None)
