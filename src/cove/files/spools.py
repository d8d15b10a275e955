"""Spools: the logs that are open, or whose length was just asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cove.files.following import MOMENT
from cove.files.logs import Spool
from cove.files.remembered import young

if TYPE_CHECKING:
    from cove.client import Client
    from cove.files.paths import Place

__all__ = ["OpenLog", "Spools"]


class OpenLog:
    """A log that somebody reads."""

    def __init__(self, spool: Spool, closed: Callable[[Spool], None]) -> None:
        self._spool: Spool | None = spool
        self._closed = closed
        spool.handles += 1

    async def read(self, offset: int, size: int) -> bytes:
        """As :meth:`~cove.files.logs.Spool.read`."""
        assert self._spool is not None, "it is closed"
        return await self._spool.read(offset, size)

    async def close(self) -> None:
        """The last who closes it ends what is fetched of it."""
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.handles -= 1
            self._closed(spool)


class Spools:
    """One spool a path.  Close it: streams end, files go.

    Who asks for a log's length and then reads it has it fetched once.
    """

    def __init__(self, client: Client, limit: int) -> None:
        self._client = client
        self._limit = limit
        # By path: when it was fetched, the spool.
        self._kept: dict[str, tuple[float, Spool]] = {}
        # Also those that another took the place of while somebody has them open.
        self._all: set[Spool] = set()
        self._closing: set[asyncio.Task[None]] = set()
        # Called with the path of a log that has become longer.
        self.on_growth: list[Callable[[str], None]] = []

    async def close(self) -> None:
        """End all of them."""
        self._kept = {}
        spools, self._all = self._all, set()
        await asyncio.gather(*(spool.close() for spool in spools), *self._closing)

    def __len__(self) -> int:
        return len(self._kept)

    async def size(self, place: Place, seconds: float) -> int:
        """How long a log is; at least, if it takes longer than that to fetch it."""
        when, spool = self._kept.get(place.path, (0.0, None))
        if spool is None or not (spool.handles or young(when)):
            spool = self._new(place)
        size = await spool.settle(seconds)
        if self._kept.get(place.path, (0.0, None))[1] is spool:
            self._kept[place.path] = (time.monotonic(), spool)
        self._released(spool)
        return size

    def open(self, place: Place) -> OpenLog:
        """A log as it is now."""
        when, spool = self._kept.get(place.path, (0.0, None))
        if spool is None or not (young(when) or spool.followed):
            spool = self._new(place)
        return OpenLog(spool, self._released)

    def _new(self, place: Place) -> Spool:
        def grown() -> None:
            for handler in self.on_growth:
                handler(place.path)

        spool = Spool(
            self._client,
            place.path,
            place.namespace,
            place.name,
            place.leaf,
            place.variant,
            limit=self._limit,
            changed=grown,
        )
        self._all.add(spool)
        old = self._kept.get(place.path)
        self._kept[place.path] = (time.monotonic(), spool)
        if old is not None and not old[1].handles:
            self._end(old[1])
        return spool

    def _released(self, spool: Spool) -> None:
        """End what nobody has open; what was just fetched is kept for a moment."""
        known = self._kept.get(spool.path)
        if known is not None and known[1] is spool:
            asyncio.get_running_loop().call_later(2 * MOMENT, self._expire, spool)
        elif not spool.handles:
            self._end(spool)

    def _expire(self, spool: Spool) -> None:
        known = self._kept.get(spool.path)
        if known is None or known[1] is not spool or spool.handles:
            return
        if young(known[0]):
            asyncio.get_running_loop().call_later(MOMENT, self._expire, spool)
            return
        del self._kept[spool.path]
        self._end(spool)

    def _end(self, spool: Spool) -> None:
        if spool not in self._all:
            return
        self._all.discard(spool)
        task = asyncio.create_task(spool.close(), name=f"close {spool.path}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
