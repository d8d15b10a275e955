"""Pods on tainted nodes: when they go, what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from timed import Timed, timed
from world import NAMESPACE

from cove.controllers._resources import NODES, PODS
from cove.engines.embedded import EmbeddedCluster

Doc = dict[str, Any]


@pytest.fixture
async def tainted(api: EmbeddedCluster) -> AsyncIterator[Timed]:
    """A node; pods on it are never run, so a deletion marks them for good."""
    async with timed(api, "taint-eviction-controller") as world:
        await world.client.create(NODES, {"metadata": {"name": "n"}})
        yield world


def tolerate(key: str, seconds: int | None = None) -> Doc:
    out: Doc = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    return out if seconds is None else {**out, "tolerationSeconds": seconds}


async def pod(world: Timed, name: str, *tolerations: Doc) -> None:
    spec = {
        "nodeName": "n",
        "containers": [{"name": "c", "image": "i"}],
        "tolerations": list(tolerations),
    }
    await world.create(PODS, name, {"metadata": {"finalizers": ["x.example/y"]}, "spec": spec})


async def taint(world: Timed, *keys: str) -> None:
    taints = [{"key": k, "effect": "NoExecute"} for k in keys]
    await world.client.patch(NODES, "n", {"spec": {"taints": taints or None}})


async def going(world: Timed, name: str) -> bool:
    await world.settle()
    found = await world.client.get(PODS, name, NAMESPACE)
    return "deletionTimestamp" in found["metadata"]


async def test_what_is_not_tolerated_is_not_waited_for(tainted: Timed) -> None:
    await pod(tainted, "p", tolerate("a", 60))
    await pod(tainted, "q", tolerate("a"))
    await taint(tainted, "a", "b")
    assert await going(tainted, "p")
    found = await tainted.client.get(PODS, "p", NAMESPACE)
    (condition,) = (c for c in found["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert condition["reason"] == "DeletionByTaintManager"
    assert condition["message"] == "Taint manager: deleting due to NoExecute taint"
    assert condition["observedGeneration"] == 1
    assert await tainted.told("p", "TaintManagerEviction") == ["Marking for deletion Pod default/p"]


async def test_the_shortest_toleration_counts(tainted: Timed) -> None:
    await pod(tainted, "p", tolerate("a", 100), tolerate("b", 30), tolerate("c"))
    await taint(tainted, "a", "b", "c")
    await tainted.pass_(29)
    assert not await going(tainted, "p")
    await tainted.pass_(2)
    assert await going(tainted, "p")


async def test_of_two_for_one_taint_the_first_counts(tainted: Timed) -> None:
    await pod(tainted, "p", tolerate("a", 100), tolerate("a", 10))
    await taint(tainted, "a")
    await tainted.pass_(50)
    assert not await going(tainted, "p")
    await tainted.pass_(51)
    assert await going(tainted, "p")


async def test_an_old_taint_gives_a_new_pod_its_time(tainted: Timed) -> None:
    await taint(tainted, "a")
    await tainted.pass_(1000)
    await pod(tainted, "p", tolerate("a", 10))
    await tainted.pass_(9)
    assert not await going(tainted, "p")
    await tainted.pass_(2)
    assert await going(tainted, "p")


async def test_a_taint_that_goes_saves_the_pod(tainted: Timed) -> None:
    await pod(tainted, "p", tolerate("a", 10))
    await taint(tainted, "a")
    await tainted.pass_(5)
    await taint(tainted)
    await tainted.pass_(100)
    assert not await going(tainted, "p")
    assert await tainted.told("p", "TaintManagerEviction") == [
        "Cancelling deletion of Pod default/p"
    ]
