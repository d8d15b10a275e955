"""Operators whose leader changes: warm standbys, fresh terms, and no change is missed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from replicas import NAME, Time, leaving_nothing
from tests.operator.leadership.test_shards import Cord
from tests.operator.runtime.operator_world import Cache, World, define

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import CoveError
from cove.operator import Operator, Retry, Runtime, Settings, info
from cove.operator.leadership import Elector, run_elected

OBJECTS, CHANGES = 50, 10_000


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    async with leaving_nothing():
        yield


class Replica:
    """One process of an operator, as far as its leader is concerned."""

    def __init__(self, api: EmbeddedCluster, time: Time, identity: str, op: Operator) -> None:
        self.cord = Cord(api.client.transport)
        self.client = Client(self.cord, user_agent=identity)
        self.clock = time.clock()
        self.elector = Elector(self.client, NAME, "default", identity, clock=self.clock)
        self.runtimes: list[Runtime] = []
        self.op = op
        self.task = asyncio.create_task(self._run(), name=f"{NAME} {identity}")

    def _make(self) -> Runtime:
        self.runtimes.append(self.op.runtime(self.client, clock=self.clock))
        return self.runtimes[-1]

    async def _run(self) -> None:
        async with self.elector:
            await run_elected(self._make, self.elector)

    @property
    def standing_by(self) -> bool:
        """Whether all is in memory that it will need."""
        return bool(self.runtimes) and all(s.synced for s in self.runtimes[-1].stores)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def kill(self) -> None:
        self.cord.cut = True
        await self.stop()


async def test_a_warm_standby_begins_at_once(api: EmbeddedCluster, time: Time) -> None:
    await define(api.client, Cache)
    world = World(api.client, None)  # type: ignore[arg-type]
    seen: list[tuple[str, str]] = []

    def operator(identity: str) -> Operator:
        op = Operator(NAME, Settings(grace=0.2))

        @op.reconcile(Cache)
        async def keep(cache: Cache) -> None:
            seen.append((identity, cache.metadata.name))

        return op

    a = Replica(api, time, "a", operator("a"))
    await time.until(lambda: a.elector.leading)
    b = Replica(api, time, "b", operator("b"))
    for name in ("x", "y"):
        await world.make(name)
    await time.until(lambda: len(seen) == 2 and b.standing_by)
    assert {who for who, _ in seen} == {"a"}
    assert b.runtimes[0].idle, "a standby collects no work"
    seen.clear()
    with api.faults.error(500, verbs=["list", "watch"]):
        async with asyncio.timeout(5):
            await a.stop()
            while len(seen) < 2:
                await asyncio.sleep(0)
    assert sorted(seen) == [("b", "x"), ("b", "y")]
    await b.stop()


async def test_after_a_demotion_another_runtime_stands_by(api: EmbeddedCluster, time: Time) -> None:
    await define(api.client, Cache)
    seen: list[str] = []
    op = Operator(NAME, Settings(grace=0.2))

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        seen.append(cache.metadata.name)

    a = Replica(api, time, "a", op)
    await time.until(lambda: a.elector.leading)
    with api.faults.error(500, resources="leases.coordination.k8s.io"):
        await time.until(lambda: not a.elector.leading)
        await time.until(lambda: len(a.runtimes) == 2)
    first, second = a.runtimes
    assert first.stopping.is_set()
    await World(api.client, second).make("x")
    await time.until(lambda: seen == ["x"])
    assert not second.stopping.is_set()
    await a.stop()


async def test_a_new_leader_is_told_of_what_went_lately_and_not_of_old_stories(
    api: EmbeddedCluster, time: Time
) -> None:
    await define(api.client, Cache)
    world = World(api.client, None)  # type: ignore[arg-type]
    told: list[tuple[str, str]] = []

    def operator(identity: str) -> Operator:
        op = Operator(NAME, Settings(grace=0.2))

        @op.deleted(Cache)
        async def gone(cache: Cache) -> None:
            told.append((identity, cache.metadata.name))

        return op

    a = Replica(api, time, "a", operator("a"))
    await time.until(lambda: a.elector.leading)
    b = Replica(api, time, "b", operator("b"))
    await time.until(lambda: b.standing_by)
    for name in ("old", "new"):
        await world.make(name)
    await time.pass_by(2)
    await world.delete("old")
    await time.until(lambda: told == [("a", "old")])
    await time.pass_by(100)
    await a.kill()
    await world.delete("new")
    await time.until(lambda: len(told) == 2)
    assert told[1] == ("b", "new")
    await b.stop()


async def insist(work: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """A user who does not give up."""
    while True:
        try:
            await work(*arguments)
        except CoveError:
            await asyncio.sleep(0.002)
        else:
            return


@pytest.mark.embedded("time passes while requests are under way: elsewhere it would wait for them")
async def test_leaders_change_over_ten_thousand_changes_and_no_key_is_missed(
    api: EmbeddedCluster, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    await define(api.client, Cache)
    world = World(api.client, None)  # type: ignore[arg-type]
    rng = random.Random(13)
    gvr = info(Cache).gvr
    reconciled: dict[str, int] = {}
    at_work: Counter[str] = Counter()
    twice: list[str] = []
    led: list[str] = []

    def operator(identity: str) -> Operator:
        op = Operator(NAME, Settings(grace=0.2))

        @op.reconcile(Cache, workers=4, retry=Retry(base=0.2, limit=2, jitter=0.1))
        async def keep(cache: Cache) -> None:
            name = cache.metadata.name
            at_work[name] += 1
            if at_work[name] > 1:
                twice.append(name)
            if not led or led[-1] != identity:
                led.append(identity)
            try:
                for _ in range(rng.randrange(5)):
                    await asyncio.sleep(0)
                reconciled[name] = cache.spec.size
            finally:
                at_work[name] -= 1
            cache.status.ready = cache.spec.size

        return op

    names = (f"r{n}" for n in range(10_000))

    def join() -> Replica:
        identity = next(names)
        return Replica(api, time, identity, operator(identity))

    replicas = [join() for _ in range(3)]
    for n in range(OBJECTS):
        await world.make(f"c{n}")

    async def user(number: int) -> None:
        for change in range(CHANGES // 5):
            name = f"c{(number * 31 + change * 7) % OBJECTS}"
            size = number * 100_000 + change
            await insist(api.client.patch, gvr, name, {"spec": {"size": size}}, "default")
            await asyncio.sleep(0.001)

    async def disturb() -> None:
        leases = {"resources": "leases.coordination.k8s.io"}
        while True:
            leader = next((r for r in replicas if r.elector.leading), None)
            match rng.randrange(5):
                case 0 | 1 if leader is not None:
                    replicas.remove(leader)
                    await (leader.kill() if rng.random() < 0.5 else leader.stop())
                    replicas.append(join())
                case 2 if leader is not None:
                    api.faults.error(500, agents=leader.elector.identity, **leases)
                case 3:
                    api.faults.compact()
                    api.faults.disconnect()
                case _:
                    api.faults.clear()
            await time.pass_by(rng.choice([2, 6, 24]), 2.0)

    chaos = asyncio.create_task(disturb())
    await asyncio.gather(*(user(n) for n in range(5)))
    chaos.cancel()
    await asyncio.gather(chaos, return_exceptions=True)
    api.faults.clear()
    found = (await api.client.list(gvr, "default")).items
    wanted = {doc["metadata"]["name"]: doc["spec"]["size"] for doc in found}
    await time.until(lambda: reconciled == wanted, most=300)
    for replica in replicas:
        await replica.stop()
    assert twice == []
    assert len(led) > 5, "leadership changed"
    for doc in (await api.client.list(gvr, "default")).items:
        assert doc["status"]["ready"] == doc["spec"]["size"]
