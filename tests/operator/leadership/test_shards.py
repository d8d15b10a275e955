"""Shards: objects shared out among replicas; none is worked on by two, none is forgotten."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from replicas import NAME, Time, leaving_nothing
from tests.operator.runtime.operator_world import Cache, World, define

from cove.client import Answer, Client, Stream, Transport, UnreachableError
from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import CoveError
from cove.operator import EntityError, Operator, Retry, Runtime, Settings
from cove.operator.leadership import Shards, run_sharded, shard_of
from cove.operator.leadership.lease import LEASES


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    async with leaving_nothing():
        yield


class Cord:
    """A connection that can be cut."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.cut = False

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        if self.cut:
            raise UnreachableError("the cord is cut")
        return await self._transport.request(method, path, query=query, headers=headers, body=body)

    def stream(
        self, method: str, path: str, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        if self.cut:
            raise UnreachableError("the cord is cut")
        return self._transport.stream(method, path, query=query, headers=headers)

    async def close(self) -> None:
        """The connection below is the cluster's."""


class Member:
    def __init__(self, shards: Shards, runtime: Runtime, cord: Cord) -> None:
        self.shards = shards
        self.runtime = runtime
        self.cord = cord
        self.task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def kill(self) -> None:
        """What it holds stays held, for as long as its Leases last."""
        self.cord.cut = True
        await self.stop()


class Party:
    """An operator with several replicas, and what their handlers do."""

    def __init__(self, api: EmbeddedCluster, time: Time, count: int) -> None:
        self.api, self.time, self.count = api, time, count
        self.world = World(api.client, None)  # type: ignore[arg-type]
        self.members: list[Member] = []
        self.names = iter("abcdefghijklmnopqrstuvwxyz" * 9)
        self.at_work: Counter[str] = Counter()
        self.twice: list[str] = []
        self.sizes: dict[str, int] = {}
        self.by: dict[str, str] = {}
        self.went: list[str] = []
        self.turns = 3

    def operator(self, identity: str) -> Operator:
        op = Operator(NAME, Settings(grace=0.2))

        @op.reconcile(Cache, workers=4, retry=Retry(base=0.5, limit=1, jitter=0.1))
        async def keep(cache: Cache) -> None:
            name = cache.metadata.name
            self.at_work[name] += 1
            try:
                if self.at_work[name] > 1:
                    self.twice.append(name)
                for _ in range(self.turns):
                    await asyncio.sleep(0)
                self.sizes[name] = cache.spec.size
                self.by[name] = identity
            finally:
                self.at_work[name] -= 1

        @op.deleted(Cache)
        async def gone(cache: Cache) -> None:
            self.went.append(cache.metadata.name)

        return op

    async def join(self, *, count: int = 0) -> Member:
        identity = next(self.names)
        clock = self.time.clock(skew=random.Random(identity).uniform(-99, 99))
        cord = Cord(self.api.client.transport)
        client = Client(cord, user_agent=identity)
        shards = Shards(client, NAME, "default", count or self.count, identity, clock=clock)
        runtime = self.operator(identity).runtime(client, clock=clock)
        member = Member(shards, runtime, cord)

        async def run() -> None:
            async with shards:
                await run_sharded(lambda: runtime, shards)

        member.task = asyncio.create_task(run(), name=f"{NAME} {identity}")
        self.members.append(member)
        return member

    async def leave(self, member: Member, *, kill: bool = False) -> None:
        self.members.remove(member)
        await (member.kill() if kill else member.stop())

    def held(self) -> list[int]:
        return sorted(n for m in self.members for n in m.shards.held)

    def fair(self) -> bool:
        numbers = [len(m.shards.held) for m in self.members]
        whole = self.held() == list(range(self.count))
        return whole and max(numbers) - min(numbers) <= 1

    def calm(self) -> bool:
        return all(m.runtime.idle for m in self.members)


@asynccontextmanager
async def party(api: EmbeddedCluster, time: Time, count: int = 8) -> AsyncIterator[Party]:
    await define(api.client, Cache)
    made = Party(api, time, count)
    try:
        yield made
    finally:
        for member in list(made.members):
            await made.leave(member)


def test_an_object_belongs_to_the_same_shard_everywhere() -> None:
    assert [shard_of(f"default/c{n}", 4) for n in range(8)] == [2, 0, 2, 0, 3, 1, 3, 1]
    spread = Counter(shard_of(f"team-{n % 7}/object-{n}", 8) for n in range(8000))
    assert min(spread.values()) > 800
    with pytest.raises(EntityError, match="shards is 0"):
        Shards(None, "x", "y", 0)  # type: ignore[arg-type]


async def test_replicas_have_a_fair_number_each(api: EmbeddedCluster, time: Time) -> None:
    async with party(api, time) as p:
        a = await p.join()
        await time.until(p.fair)
        assert a.shards.held == frozenset(range(8))
        await p.join()
        await p.join()
        await time.until(p.fair)
        assert sorted(len(m.shards.held) for m in p.members) == [2, 3, 3]
        assert len({tuple(m.shards.members) for m in p.members}) == 1
        await p.leave(a)
        took = await time.until(p.fair)
        assert took <= 1, "who leaves gives back at once"
        await p.leave(p.members[0], kill=True)
        await time.pass_by(24)
        assert len(p.held()) == 4, "nobody takes what may still be worked on"
        await time.until(p.fair, most=20)
    left = (await api.client.list(LEASES, "default")).items
    members = [d for d in left if d["metadata"]["labels"]["cove.dev/lease"] == "member"]
    assert members == [], "those who have died are buried"


async def test_everybody_works_on_its_own_objects(api: EmbeddedCluster, time: Time) -> None:
    async with party(api, time) as p:
        for n in range(40):
            await p.world.make(f"c{n}")
        await p.join()
        await p.join()
        await time.until(p.fair)
        await time.until(lambda: p.calm() and len(p.sizes) == 40)
        p.by.clear()
        for n in range(40):
            await p.world.resize(7, f"c{n}")
        await time.until(lambda: len(p.by) == 40)
        owners = {m.shards.identity: m.shards for m in p.members}
        assert all(owners[who].mine(f"default/{name}") for name, who in p.by.items())
        assert len(set(p.by.values())) == 2


async def test_a_shard_is_given_back_when_nothing_of_it_is_worked_on(
    api: EmbeddedCluster, time: Time
) -> None:
    async with party(api, time, count=2) as p:
        p.turns = 10**9
        a = await p.join()
        await time.until(p.fair)
        for n in range(2, 6):  # two of each shard
            await p.world.make(f"c{n}")
        await time.until(lambda: sum(p.at_work.values()) == 4)
        b = await p.join()
        await time.pass_by(60)
        assert len(a.shards.held) == 1, "it takes no more of what it is to give"
        assert not b.shards.held, "but what it has begun it ends first"
        p.turns = 0
        await a.stop()
        p.members.remove(a)
        assert p.twice == []


async def test_what_is_lost_is_stopped_before_another_has_it(
    api: EmbeddedCluster, time: Time
) -> None:
    async with party(api, time, count=2) as p:
        p.turns = 10**9
        a = await p.join()
        await time.until(p.fair)
        await p.world.make("c0")
        await time.until(lambda: p.at_work["c0"] == 1)
        a.cord.cut = True
        b = await p.join()
        await time.until(lambda: not a.shards.held)
        assert not b.shards.held
        await time.until(lambda: p.at_work["c0"] == 0)
        assert not b.shards.held
        await time.until(lambda: len(b.shards.held) == 2 and p.at_work["c0"] == 1)
        assert p.twice == []


async def test_objects_that_go_while_shards_change_hands_are_not_missed(
    api: EmbeddedCluster, time: Time
) -> None:
    async with party(api, time) as p:
        a = await p.join()
        for n in range(30):
            await p.world.make(f"c{n}")
        await time.until(lambda: p.fair() and len(p.sizes) == 30)
        await p.join()
        await time.until(p.fair)
        await p.leave(a, kill=True)
        for n in range(30):
            await p.world.delete(f"c{n}")
        await time.until(lambda: len(set(p.went)) == 30)
        await time.until(p.calm)
        await p.join()
        await time.pass_by(90)
        assert Counter(p.went).most_common(1)[0][1] <= 2


async def test_who_divides_otherwise_waits_until_the_others_are_gone(
    api: EmbeddedCluster, time: Time
) -> None:
    async with party(api, time, count=4) as p:
        a = await p.join()
        await time.until(p.fair)
        # Leases tell their age to the second, by the server's clock.
        await asyncio.sleep(1.1)
        b = await p.join(count=8)
        await time.pass_by(60)
        assert len(a.shards.held) in (2, 4)
        assert not b.shards.held
        await p.leave(a)
        await time.until(lambda: len(b.shards.held) == 8)


@pytest.mark.parametrize("seed", range(4))
async def test_rebalancing_works_on_no_key_twice_and_misses_none(
    api: EmbeddedCluster, time: Time, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    rng = random.Random(seed)
    leases = {"resources": "leases.coordination.k8s.io"}
    async with party(api, time) as p:
        for n in range(40):
            await p.world.make(f"c{n}")
        await p.join()
        wanted: dict[str, int] = {f"c{n}": 1 for n in range(40)}
        size = 10
        for _ in range(60):
            match rng.randrange(7):
                case 0 | 1 if len(p.members) < 5:
                    await p.join()
                case 2 if len(p.members) > 1:
                    await p.leave(rng.choice(p.members))
                case 3 if len(p.members) > 1:
                    await p.leave(rng.choice(p.members), kill=True)
                case 4:
                    api.faults.error(
                        500, agents=rng.choice(p.members).shards.identity, rate=0.8, **leases
                    )
                case 5:
                    api.faults.disconnect()
                case _:
                    api.faults.clear()
            p.turns = rng.randrange(30)
            for _ in range(10):
                name = f"c{rng.randrange(40)}"
                size += 1
                try:
                    await p.world.resize(size, name)
                except CoveError:
                    continue
                wanted[name] = size
            await time.pass_by(rng.choice([0, 0.5, 3, 10]))
        api.faults.clear()
        p.turns = 1
        await time.until(p.fair, most=200)
        await time.until(lambda: p.calm() and p.sizes == wanted)
        assert p.twice == []
