"""Leader election: one works at a time, whoever fails, and somebody always comes to."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from replicas import NAME, Replica, Time, lease_of, leaving_nothing, standing

from cove.client import ManualClock, UnreachableError
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.operator import EntityError, Leadership
from cove.operator.leadership import Elector, new_identity
from cove.operator.leadership.lease import LEASES, Claim

EVENTS = GVR("", "v1", "events")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    async with leaving_nothing():
        yield


def claimed(api: EmbeddedCluster, time: Time, identity: str) -> Claim:
    """What is left of a replica that was killed: its name in the Lease."""
    return Claim(api.client, NAME, "default", identity, Leadership(), time.clock())


async def test_one_of_two_leads(api: EmbeddedCluster, time: Time) -> None:
    async with standing(api, time, "a") as a, standing(api, time, "b") as b:
        await time.until(lambda: a.leading or b.leading)
        await time.pass_by(120)
        assert (a.leading, b.leading) in {(True, False), (False, True)}
        assert (a.working, b.working) == (a.leading, b.leading)
        assert a.terms + b.terms == 1
        leader = a if a.leading else b
        assert a.elector.holder == b.elector.holder == leader.elector.identity


async def test_the_lease_says_who_since_when_and_for_how_long(
    api: EmbeddedCluster, time: Time
) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        spec = await lease_of(api)
        assert spec["holderIdentity"] == "a"
        assert spec["leaseDurationSeconds"] == 30
        assert spec["leaseTransitions"] == 0
        assert spec["acquireTime"] == spec["renewTime"]
        await time.pass_by(11)
        later = await lease_of(api)
        assert later["acquireTime"] == spec["acquireTime"]
        assert later["renewTime"] > spec["renewTime"]


async def test_who_was_killed_is_replaced_when_its_lease_ends(
    api: EmbeddedCluster, time: Time
) -> None:
    assert await claimed(api, time, "dead").attempt()
    async with standing(api, time, "b") as b:
        await time.pass_by(29)
        assert not b.leading
        took = await time.until(lambda: b.working)
        assert took <= 2
        spec = await lease_of(api)
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)


@pytest.mark.parametrize("skew", [-86_400, 86_400], ids=["a day behind", "a day ahead"])
async def test_clocks_may_show_different_times(
    api: EmbeddedCluster, time: Time, skew: float
) -> None:
    assert await claimed(api, time, "dead").attempt()
    async with standing(api, time, "b", skew=skew) as b:
        await time.pass_by(29)
        assert not b.leading, "the holder's times are no business of ours"
        await time.until(lambda: b.working, most=2)
        async with standing(api, time, "c") as c:
            await time.pass_by(90)
            assert (b.leading, c.leading) == (True, False)


async def test_released_on_stop_and_the_other_leads_at_once(
    api: EmbeddedCluster, time: Time
) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        async with standing(api, time, "b") as b:
            await time.pass_by(3)
            async with asyncio.timeout(5):
                await a.stop()
                while not b.working:
                    await asyncio.sleep(0)
            assert not a.leading, "no time has passed"
            spec = await lease_of(api)
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)
    spec = await lease_of(api)
    assert "holderIdentity" not in spec
    assert spec["leaseDurationSeconds"] == 1


async def test_a_stopping_leader_leads_until_its_work_has_ended(
    api: EmbeddedCluster, time: Time
) -> None:
    finish = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await finish.wait()

    async with standing(api, time, "a", work=work) as a, standing(api, time, "b") as b:
        await time.until(lambda: a.leading or b.leading)
        if b.leading:
            await b.stop()
            await time.until(lambda: a.leading)
        stop = asyncio.create_task(a.stop())
        await time.pass_by(60)
        assert a.leading, "it renews as long as it has something to end"
        assert not b.leading
        finish.set()
        await stop
        assert not a.leading


async def test_a_failed_renewal_demotes_before_another_can_lead(
    api: EmbeddedCluster, time: Time
) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        async with standing(api, time, "b") as b:
            await time.pass_by(2)
            with api.faults.error(500, resources="leases.coordination.k8s.io", agents="a"):
                demoted = await time.until(lambda: not a.working)
                assert 15 <= demoted <= 21
                assert not a.leading
                assert not b.leading
                took = await time.until(lambda: b.working)
                assert 5 <= took <= 16
            await time.pass_by(30)
            assert (a.working, b.working) == (False, True)
            await b.stop()
            await time.until(lambda: a.working)
            assert a.terms == 2, "it stands again"


async def test_a_renewal_that_hangs_demotes_as_well(api: EmbeddedCluster, time: Time) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        with api.faults.hang(resources="leases.coordination.k8s.io", verbs="update"):
            assert 15 <= await time.until(lambda: not a.working) <= 21
        await time.until(lambda: a.working)


async def test_a_renewal_whose_answer_was_lost_is_none_of_somebody_else(
    api: EmbeddedCluster, time: Time
) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        with api.faults.reset(after=True, resources="leases.coordination.k8s.io", count=1):
            await time.pass_by(30)
        assert a.working
        assert a.terms == 1


async def test_who_sees_another_in_its_place_stops_at_once(
    api: EmbeddedCluster, time: Time
) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        await api.client.patch(LEASES, NAME, {"spec": {"holderIdentity": "usurper"}}, "default")
        async with asyncio.timeout(5):
            assert not await a.elector.changed()
            while a.working:
                await asyncio.sleep(0)
        assert not a.leading
        assert a.elector.holder == "usurper"


async def test_work_that_does_not_end_is_told_again_before_another_leads(
    api: EmbeddedCluster, time: Time
) -> None:
    told: list[float] = []

    async def work() -> None:
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append(time.elapsed)
                if len(told) == 2:
                    raise

    async with standing(api, time, "a", work=work) as a:
        await time.until(lambda: a.leading)
        began = time.elapsed
        with api.faults.error(500, resources="leases.coordination.k8s.io", agents="a"):
            while len(told) < 2:
                await time.pass_by(0.5)
                await asyncio.sleep(0.03)
            assert [t - began for t in told] == [pytest.approx(20, abs=1), pytest.approx(25, abs=1)]


async def test_a_lease_that_somebody_deletes_is_made_again_and_makes_no_second_leader(
    api: EmbeddedCluster, time: Time
) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
        async with standing(api, time, "b") as b:
            await time.pass_by(12)
            await api.client.delete(LEASES, NAME, "default")
            await time.pass_by(60)
            assert (a.terms, b.terms) == (1, 0)
            assert (await lease_of(api))["holderIdentity"] == "a"


async def test_who_leads_is_told_as_events_of_the_lease(api: EmbeddedCluster, time: Time) -> None:
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
    found = (await api.client.list(EVENTS, "default")).items
    told = [(e["involvedObject"]["kind"], e["reason"], e["message"]) for e in found]
    assert ("Lease", "LeaderElection", "a became leader") in told
    assert ("Lease", "LeaderElection", "a stopped leading") in told


async def test_handlers_are_told_of_both_turns(api: EmbeddedCluster, time: Time) -> None:
    seen: list[bool] = []
    async with standing(api, time, "a") as a:
        a.elector.add_handler(seen.append)
        await time.until(lambda: a.working)
        await a.stop()
    assert seen == [False, True, False]


async def test_work_that_returns_or_fails_ends_leadership(api: EmbeddedCluster, time: Time) -> None:
    async def fail() -> None:
        raise UnreachableError("no")

    async def done() -> None:
        return

    async with Elector(api.client, NAME, "default", clock=ManualClock()) as elector:
        with pytest.raises(UnreachableError):
            await elector.lead(fail)
        assert not elector.leading
        await elector.lead(done)
        assert "holderIdentity" not in await lease_of(api)


async def test_other_fields_of_the_lease_are_left_alone(api: EmbeddedCluster, time: Time) -> None:
    doc = {
        "metadata": {"name": NAME, "labels": {"team": "caches"}},
        "spec": {"strategy": "OldestEmulationVersion"},
    }
    await api.client.create(LEASES, doc, "default")
    async with standing(api, time, "a") as a:
        await time.until(lambda: a.working)
    found = await api.client.get(LEASES, NAME, "default")
    assert found["metadata"]["labels"] == {"team": "caches"}
    assert found["spec"]["strategy"] == "OldestEmulationVersion"


def test_identities_are_never_the_same() -> None:
    assert new_identity() != new_identity()


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(EntityError, match="lease 10 > renew 20"):
        Leadership(lease=10, renew=20)


@pytest.mark.parametrize("seed", range(8))
async def test_never_two_at_a_time_whatever_fails(
    api: EmbeddedCluster, time: Time, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    rng = random.Random(seed)
    faults = api.faults
    names = ["a", "b", "c"]
    where = {"resources": "leases.coordination.k8s.io"}

    def disturb() -> None:
        agent = rng.choice(names)
        match rng.randrange(8):
            case 0:
                faults.error(rng.choice([500, 429, 409]), agents=agent, rate=0.7, **where)
            case 1:
                faults.hang(agents=agent, **where)
            case 2:
                faults.reset(after=True, agents=agent, rate=0.6, **where)
            case 3:
                faults.reset(agents=agent, rate=0.8, **where)
            case 4:
                faults.error(503, after=True, agents=agent, verbs="update", **where)
            case 5:
                faults.disconnect()
            case 6:
                faults.stall_watches(agents=agent)
            case _:
                faults.clear()

    both, led = [], set()

    def look(replicas: list[Replica]) -> None:
        leading = [r.elector.identity for r in replicas if r.leading]
        working = [r.elector.identity for r in replicas if r.working]
        led.update(leading)
        if len(leading) > 1 or len(working) > 1:
            both.append((time.elapsed, leading, working))

    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(standing(api, time, n, skew=rng.uniform(-999, 999)))
            for n in names
        ]
        for replica in replicas:
            replica.elector.add_handler(lambda leading: look(replicas))
        for _ in range(400):
            if rng.random() < 0.4:
                disturb()
            for _ in range(rng.randrange(1, 12)):
                # Now and then all stand still for long, as a laptop that sleeps.
                step = 40.0 if rng.random() < 0.02 else 0.5
                await time.pass_by(step, step)
                look(replicas)
        faults.clear()
        assert not both
        await time.until(lambda: any(r.working for r in replicas))
    assert len(led) > 1, "leadership changed"
