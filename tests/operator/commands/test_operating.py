"""An operator under test: what the helper gives to tests of operators."""

from __future__ import annotations

import asyncio

import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator import (
    Ctx,
    Entity,
    Invalid,
    ObjectMeta,
    Operator,
    RetryError,
    Settings,
    Struct,
    entity,
    requeue,
)
from cove.operator.kinds import ConfigMap, Secret
from cove.testing import OperatorWorld, operating, operator_fixture


class BoxSpec(Struct):
    size: int = 1


class BoxStatus(Struct):
    size: int = 0
    rounds: int = 0


@entity("boxes.example.com/v1", plural="boxes")
class Box(Entity):
    spec: BoxSpec = BoxSpec()
    status: BoxStatus = BoxStatus()


def box(size: int = 1, name: str = "a") -> Box:
    return Box(metadata=ObjectMeta(name=name), spec=BoxSpec(size=size))


def operator(finalized: list[str] | None = None) -> Operator:
    op = Operator("box-operator", Settings(namespaces=("default",)))

    @op.controller(Box, owns=[ConfigMap])
    class Controller:
        async def reconcile(self, obj: Box, ctx: Ctx) -> object:
            if obj.spec.size > 100:
                raise RetryError("too large for now", 3600)
            data = {"size": str(obj.spec.size)}
            await ctx.apply(ConfigMap(metadata=ObjectMeta(name=obj.metadata.name), data=data))
            obj.status.size = obj.spec.size
            obj.status.rounds += 1
            return requeue(3600, "every hour")

        async def finalize(self, obj: Box) -> None:
            if finalized is not None:
                finalized.append(obj.metadata.name)

    @op.validate(Box)
    def check(new: Box) -> None:
        if new.spec.size < 0:
            raise Invalid("is negative", field="spec.size")

    return op


world = operator_fixture(operator())


async def test_a_fixture_has_the_operator_at_work(world: OperatorWorld) -> None:
    made = await world.create(box(3))

    await world.eventually(lambda: world.get(Box, "a").status.size == 3)
    await world.patch(made, {"spec": {"size": 4}})
    await world.eventually(lambda: world.get(ConfigMap, "a").data == {"size": "4"})
    with pytest.raises(StatusError, match="is negative"):
        await world.create(box(-1, "b"))


async def test_events_are_enqueued_and_objects_finalized() -> None:
    finalized: list[str] = []

    async with operating(operator(finalized)) as world:
        made = await world.create(box())
        await world.eventually(lambda: world.get(Box, "a").status.rounds == 1)
        world.enqueue(made)
        await world.eventually(lambda: world.get(Box, "a").status.rounds == 2)
        await world.finalize(made)

        assert world.find(Box, "a") is None
    assert finalized == ["a"]


async def test_each_test_has_a_fork_and_leaves_nothing(cluster: EmbeddedCluster) -> None:
    before = asyncio.all_tasks()

    for _ in range(2):
        async with operating(operator(), cluster) as world:
            await world.create(box())
            await world.eventually(lambda w=world: w.get(Box, "a").status.size == 1)  # type: ignore[misc]

    assert asyncio.all_tasks() == before
    crds = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert (await cluster.client.list(crds)).items == []


@pytest.mark.embedded("its clock and its faults")
async def test_the_clock_and_faults_are_the_clusters(cluster: EmbeddedCluster) -> None:
    async with operating(operator(), cluster) as world:
        await world.create(box())
        await world.eventually(lambda: world.get(Box, "a").status.rounds == 1)
        await world.clock.advance(3601)  # type: ignore[attr-defined]
        await world.eventually(lambda: world.get(Box, "a").status.rounds >= 2)
        with world.faults.error(500, verbs="patch", resources="configmaps", count=1):
            await world.create(box(5, "b"))
            await world.eventually(lambda: bool(world.runtime.controllers[0]._failures))
        await world.clock.advance(3)  # type: ignore[attr-defined]
        await world.eventually(lambda: world.get(Box, "b").status.size == 5)


async def test_it_lives_with_exactly_the_rights_that_are_generated() -> None:
    async with operating(operator(), rbac=True) as world:
        made = await world.create(box())
        await world.eventually(lambda: world.get(Box, "a").status.size == 1)
        await world.finalize(made)

        assert not world.audit.refused
        assert not world.report().missing


async def test_what_never_comes_is_told_with_what_there_was() -> None:
    op = Operator("box-operator")

    @op.reconcile(Box)
    async def fail(obj: Box) -> None:
        raise ValueError("no boxes left")

    async with operating(op) as world:
        await world.create(box(3))
        with pytest.raises(AssertionError) as caught:
            await world.eventually(lambda: world.get(Box, "b").status.size == 3, timeout=0.5)

    text = str(caught.value)
    assert text.splitlines()[0] == f"not so after 0.5 s: Box {world.namespace}/b is not there"
    assert f'last seen: Box {world.namespace}/a: {{"spec": {{"size": 3}}}}' in text
    assert "Box a: ReconcileError: no boxes left" in text


async def test_other_kinds_are_seen_once_they_are_followed() -> None:
    async with operating(operator()) as world:
        with pytest.raises(LookupError, match=r"await world.follow\(Secret\) first"):
            world.find(Secret, "a")
        await world.follow(Secret)
        assert world.find(Secret, "a") is None
        with pytest.raises(LookupError, match="no controller of Secret"):
            world.enqueue(Secret(metadata=ObjectMeta(name="a")))
