"""Finalizers: put on, run once to success each, taken off; names as the reference makes them."""

from __future__ import annotations

import pytest
from operator_world import Cache, operating

from cove.client import ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import StatusError
from cove.operator import Ctx, Operator, Result, Retry, info, requeue
from cove.operator.runtime.registry import finalizer_name


@pytest.fixture
def op() -> Operator:
    return Operator("cache-operator")


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("example.com", "Billing", "example.com/billingfinalizer"),
        ("example.com", "BillingFinalizer", "example.com/billingfinalizer"),
        ("example.com", "x" * 80, "example.com/" + "x" * 51),
    ],
)
def test_names(group: str, name: str, expected: str) -> None:
    assert finalizer_name(group, name) == expected
    assert len(finalizer_name(group, name)) <= 63


async def test_one_is_put_on_and_runs_before_the_object_goes(
    api: EmbeddedCluster, op: Operator
) -> None:
    calls: list[str] = []

    @op.controller(Cache)
    class Caches:
        async def finalize(self, cache: Cache) -> None:
            calls.append(f"finalize {cache.spec.size}")

        async def deleted(self, cache: Cache) -> None:
            calls.append("deleted")

    async with operating(api, op) as world:
        await world.make(size=3)
        await world.quiet()
        assert (await world.get())["metadata"]["finalizers"] == [
            "cache.example.com/cachesfinalizer"
        ]
        await world.delete()
        await world.until(lambda: calls == ["finalize 3", "deleted"])
        with pytest.raises(StatusError, match="not found"):
            await world.get()


async def test_a_step_that_succeeded_is_never_run_again(api: EmbeddedCluster, op: Operator) -> None:
    clock = ManualClock()
    calls: list[str] = []

    @op.finalizer(Cache)
    async def first(cache: Cache) -> None:
        calls.append("first")

    @op.finalizer(Cache, "example.com/second")
    async def second(cache: Cache) -> None:
        calls.append("second")
        if calls.count("second") < 3:
            raise OSError("the bank is closed")

    @op.finalizer(Cache)
    async def third(cache: Cache) -> None:
        calls.append("third")

    op.controllers[0].retry = Retry(jitter=0)
    async with operating(api, op, clock=clock) as world:
        await world.make()
        await world.quiet()
        names = (await world.get())["metadata"]["finalizers"]
        assert names == [
            "cache.example.com/firstfinalizer",
            "example.com/second",
            "cache.example.com/thirdfinalizer",
        ]
        await world.delete()
        await world.until(lambda: calls == ["first", "second"])
        assert (await world.get())["metadata"]["finalizers"] == names[1:]
        for _ in range(4):
            clock.advance(10)
            await world.quiet()
        assert calls == ["first", "second", "second", "second", "third"]


async def test_one_that_is_not_done_says_when_to_ask_again(
    api: EmbeddedCluster, op: Operator
) -> None:
    clock = ManualClock()
    calls: list[int] = []

    @op.finalizer(Cache)
    async def drain(cache: Cache) -> Result | None:
        calls.append(1)
        return requeue(60, "draining") if len(calls) < 2 else None

    async with operating(api, op, clock=clock) as world:
        await world.make()
        await world.quiet()
        await world.delete()
        await world.until(lambda: len(calls) == 1)
        clock.advance(59)
        await world.quiet()
        assert len(calls) == 1
        clock.advance(1)
        await world.until(lambda: len(calls) == 2)


async def test_finalizers_of_others_are_left_alone(api: EmbeddedCluster, op: Operator) -> None:
    calls: list[str] = []

    @op.finalizer(Cache)
    async def mine(cache: Cache) -> None:
        calls.append("mine")

    async with operating(api, op) as world:
        await world.make(finalizers=["other.example.com/x"])
        await world.quiet()
        assert (await world.get())["metadata"]["finalizers"] == [
            "other.example.com/x",
            "cache.example.com/minefinalizer",
        ]
        await world.delete()
        await world.until(lambda: calls == ["mine"])
        await world.quiet()
        assert (await world.get())["metadata"]["finalizers"] == ["other.example.com/x"]
        await world.quiet()
        assert calls == ["mine"]


async def test_one_that_is_changed_meanwhile_is_not_overwritten(
    api: EmbeddedCluster, op: Operator
) -> None:
    """Somebody adds a finalizer between what was seen and what is written."""
    calls: list[str] = []

    @op.finalizer(Cache)
    async def slow(cache: Cache) -> None:
        calls.append("slow")
        added = {"metadata": {"finalizers": [*cache.metadata.finalizers, "late.example.com/x"]}}
        if len(calls) == 1:
            with pytest.raises(StatusError, match=r"Forbidden|may only"):
                # While it is being deleted nobody may add one: it is only removed.
                await api.client.patch(info(Cache).gvr, "a", added, "default")

    async with operating(api, op) as world:
        await world.make()
        await world.quiet()
        await world.delete()
        await world.until(lambda: bool(calls))
        await world.quiet()
        with pytest.raises(StatusError, match="not found"):
            await world.get()
    assert calls == ["slow"]


async def test_one_may_be_put_on_chosen_objects_and_taken_off(
    api: EmbeddedCluster, op: Operator
) -> None:
    calls: list[str] = []
    name = "example.com/billing"

    @op.finalizer(Cache, name, automatic=False)
    async def bill(cache: Cache) -> None:
        calls.append(f"bill {cache.metadata.name}")

    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        if cache.spec.size > 1:
            await ctx.add_finalizer(name)
        else:
            await ctx.remove_finalizer(name)

    async with operating(api, op) as world:
        await world.make("small", 1)
        await world.make("large", 5)
        await world.quiet()
        assert "finalizers" not in (await world.get("small"))["metadata"]
        assert (await world.get("large"))["metadata"]["finalizers"] == [name]
        await world.resize(1, "large")
        await world.quiet()
        assert "finalizers" not in (await world.get("large"))["metadata"]
        await world.resize(2, "large")
        await world.quiet()
        await world.delete("large")
        await world.delete("small")
        await world.until(lambda: calls == ["bill large"])
