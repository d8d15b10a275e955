"""Chaos: watches that drop, stall and expire, errors, restarts; no wish is missed."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
from operator_world import Cache, define, operating

from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import CoveError
from cove.operator import Operator, Retry, info

OBJECTS, CHANGES = 100, 10_000


async def disturb(cluster: EmbeddedCluster, rng: random.Random) -> None:
    """One thing after the other goes wrong, until cancelled."""
    faults = cluster.faults
    while True:
        await asyncio.sleep(rng.uniform(0.02, 0.2))
        match rng.randrange(6):
            case 0:
                faults.disconnect()
            case 1:
                faults.compact()
                faults.disconnect()
            case 2:
                with faults.drop_watches(after=rng.randrange(5)):
                    faults.disconnect()
                    await asyncio.sleep(0.05)
            case 3:
                with faults.error(rng.choice([500, 503, 409, 429]), verbs="patch", rate=0.3):
                    await asyncio.sleep(0.05)
            case 4:
                with faults.error(410, verbs="watch", count=2):
                    faults.disconnect()
                    await asyncio.sleep(0.02)
            case 5:
                await cluster.restart()


async def insist(work: object, *arguments: object, **options: object) -> None:
    """A user who does not give up."""
    while True:
        try:
            await work(*arguments, **options)  # type: ignore[operator]
            return
        except CoveError:
            await asyncio.sleep(0.01)


async def test_ten_thousand_changes_and_no_key_is_missed(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    op = Operator("cache-operator")
    rng = random.Random(6)
    reconciled: dict[str, int] = {}

    @op.reconcile(Cache, workers=8, retry=Retry(base=0.01, limit=0.2, jitter=0.01))
    async def keep(cache: Cache) -> None:
        reconciled[cache.metadata.name] = cache.spec.size
        cache.status.ready = cache.spec.size

    await define(api.client, Cache)
    gvr = info(Cache).gvr
    async with operating(api, op) as world:
        for n in range(OBJECTS):
            await world.make(f"c{n}")
        chaos = asyncio.create_task(disturb(api, rng))
        wanted: dict[str, int] = {}

        async def user(number: int) -> None:
            for change in range(CHANGES // 10):
                name = f"c{(number * 31 + change * 7) % OBJECTS}"
                size = number * 100_000 + change
                await insist(api.client.patch, gvr, name, {"spec": {"size": size}}, "default")

        await asyncio.gather(*(user(n) for n in range(10)))
        chaos.cancel()
        await asyncio.gather(chaos, return_exceptions=True)
        api.faults.clear()
        for doc in (await api.client.list(gvr, "default")).items:
            wanted[doc["metadata"]["name"]] = doc["spec"]["size"]

        async with asyncio.timeout(60):
            while reconciled != wanted or not world.runtime.idle:
                await asyncio.sleep(0.05)
        for doc in (await api.client.list(gvr, "default")).items:
            assert doc["status"]["ready"] == doc["spec"]["size"]
