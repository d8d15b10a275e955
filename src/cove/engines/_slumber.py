"""Slumber: controllers and nodes of a fork start once there is something for them to do.

A fork of a cluster in which nobody had anything to do needs none of them until something is
written that concerns them.  Most forks live for some milliseconds and never write such a
thing; who starts forty controllers for them spends all the time on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from cove.server.index import built_in

if TYPE_CHECKING:
    from cove.server.store import Event, Store

__all__ = ["Slumber"]

# Seconds of this machine after which they start in any case: what is to happen at some time —
# a schedule, a deadline — is theirs to know.
LONGEST = 1.0

# What no controller looks at, other than as a dependent, an owner or something to be counted.
_IDLE = frozenset(
    ("configmaps", "secrets", "events", "events.events.k8s.io", "leases.coordination.k8s.io")
)
_TELLING = (b'"ownerReferences"', b'"deletionTimestamp"', b'"kubernetes.io/service-account-token"')


class Slumber:
    """``async with Slumber(store, start)``: ``start`` is awaited once, when it is time.

    What it starts goes on the stack that it is given, and ends with this.  ``start`` that
    fails makes :meth:`awake` and the end of the context raise what it raised.
    """

    def __init__(self, store: Store, start: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
        self._store = store
        self._start = start
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._store.on_write = self._wrote
        self._timer = asyncio.get_running_loop().call_later(LONGEST, self._wake)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._cease()
        task = self._task
        try:
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
            elif task is not None:
                task.result()
        finally:
            await self._stack.aclose()

    @property
    def asleep(self) -> bool:
        """Whether nothing was started yet."""
        return self._task is None

    @property
    def waking(self) -> bool:
        """Whether it is being started."""
        return self._task is not None and not self._task.done()

    async def awake(self) -> None:
        """Start it if it was not started, and return when it has been."""
        await asyncio.shield(self._wake())

    def _wake(self) -> asyncio.Task[None]:
        self._cease()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="a fork wakes")
        return self._task

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()

    def _cease(self) -> None:
        self._store.on_write = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wrote(self, event: Event) -> None:
        if not _idle(self._store, event):
            self._wake()


def _idle(store: Store, event: Event) -> bool:
    """Whether no controller has anything to do for a write."""
    if event.type == "DELETED" or (event.resource not in _IDLE and built_in(event.resource)):
        return False
    written = event.object
    if written.namespace.startswith("kube-") or store.state.count("resourcequotas"):
        return False
    return not any(word in written.data for word in _TELLING)
