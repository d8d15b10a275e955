"""Chosen controllers under a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from world import NAMESPACE, World

from cove.client import ManualClock
from cove.controllers import Manager
from cove.controllers._resources import EVENTS
from cove.engines.embedded import EmbeddedCluster

Doc = dict[str, Any]


class Timed(World):
    """A cluster with some controllers; time passes where a test says so."""

    def __init__(self, api: EmbeddedCluster, manager: Manager, clock: ManualClock) -> None:
        super().__init__(api.client)
        self.manager = manager
        self.clock = clock

    async def settle(self) -> None:
        """Let everything happen that does not wait for time.

        What a write causes arrives by a watch: the controllers have to be idle for a while.
        """
        for _ in range(20):
            await self.manager.idle()
            for _ in range(5):
                await asyncio.sleep(0)
        await self.manager.idle()

    async def pass_(self, seconds: float) -> None:
        """Let time pass and its effects happen."""
        await self.settle()
        self.clock.advance(seconds)
        await self.settle()

    async def told(self, name: str, reason: str) -> list[str]:
        """What events with a reason say of an object."""
        await self.settle()
        found = await self.client.list(EVENTS, NAMESPACE)
        return [
            e["message"]
            for e in found.items
            if e["involvedObject"]["name"] == name and e["reason"] == reason
        ]


@asynccontextmanager
async def timed(api: EmbeddedCluster, *controllers: str) -> AsyncIterator[Timed]:
    """Run some controllers under a manual clock."""
    clock = ManualClock()
    async with Manager(api.client, controllers=list(controllers), clock=clock) as manager:
        yield Timed(api, manager, clock)
