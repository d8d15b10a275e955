"""DaemonSets on nodes that nothing runs on: tests say which pods are ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from timed import Timed, timed
from world import NAMESPACE, pod_template

from cove.controllers._resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from cove.engines.embedded import EmbeddedCluster
from cove.kube.times import format_time

Doc = dict[str, Any]
HASH = "controller-revision-hash"


@pytest.fixture
async def daemons(api: EmbeddedCluster) -> AsyncIterator[Timed]:
    """Three nodes and a controller for DaemonSets."""
    async with timed(api, "daemonset-controller") as world:
        for name in ("a", "b", "c"):
            await world.client.create(NODES, {"metadata": {"name": name, "labels": {"disk": name}}})
            # Admission taints a node that is not ready yet; nobody is here to make it so.
            await world.client.patch(NODES, name, {"spec": {"taints": None}})
        yield world


async def daemon_set(world: Timed, strategy: Doc | None = None, **spec: Any) -> None:
    body = {
        "selector": {"matchLabels": {"app": "d"}},
        "template": pod_template({"app": "d"}, **spec),
    }
    if strategy is not None:
        body["updateStrategy"] = strategy
    await world.create(DAEMON_SETS, "d", {"spec": body})
    await world.pass_(1)


async def change(world: Timed, image: str) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": image}]}}
    await world.client.patch(DAEMON_SETS, "d", {"spec": {"template": template}}, NAMESPACE)
    await world.settle()


def node_of(pod: Doc) -> str:
    affinity = pod["spec"]["affinity"]["nodeAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return str(term["matchFields"][0]["values"][0])


async def images(world: Timed) -> dict[str, list[str]]:
    """Node → what its pods run."""
    await world.settle()
    found: dict[str, list[str]] = {}
    for pod in (await world.client.list(PODS, NAMESPACE)).items:
        found.setdefault(node_of(pod), []).append(pod["spec"]["containers"][0]["image"])
    return {k: sorted(v) for k, v in sorted(found.items())}


async def ready(world: Timed, image: str, phase: str = "Running") -> None:
    now = format_time(world.clock.now())
    value = "True" if phase == "Running" else "False"
    condition = {"type": "Ready", "status": value, "lastTransitionTime": now}
    for pod in (await world.client.list(PODS, NAMESPACE)).items:
        if pod["spec"]["containers"][0]["image"] == image:
            status = {"phase": phase, "conditions": [condition]}
            name = pod["metadata"]["name"]
            await world.client.patch(
                PODS, name, {"status": status}, NAMESPACE, subresource="status"
            )
    await world.settle()


async def test_nodes_are_chosen_by_label_and_taint(daemons: Timed) -> None:
    taint = {"key": "x", "effect": "NoSchedule"}
    await daemons.client.patch(NODES, "b", {"spec": {"taints": [taint]}})
    await daemon_set(daemons)
    assert await images(daemons) == {"a": ["i"], "c": ["i"]}
    change_ = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "a"}}}}}
    await daemons.client.patch(DAEMON_SETS, "d", change_, NAMESPACE)
    assert await images(daemons) == {"a": ["i"]}
    found = await daemons.client.get(DAEMON_SETS, "d", NAMESPACE)
    assert found["status"]["desiredNumberScheduled"] == 1


async def test_an_update_takes_as_many_as_may_be_missing(daemons: Timed) -> None:
    await daemon_set(daemons, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
    await ready(daemons, "i")
    await change(daemons, "new")
    assert sorted((await images(daemons)).values()) == [["i"], ["new"], ["new"]]
    status = (await daemons.client.get(DAEMON_SETS, "d", NAMESPACE))["status"]
    assert status["updatedNumberScheduled"] == 2
    assert status["numberUnavailable"] == 2
    await ready(daemons, "new")
    assert list((await images(daemons)).values()) == [["new"]] * 3


async def test_what_does_not_serve_is_replaced_in_any_case(daemons: Timed) -> None:
    await daemon_set(daemons)
    await change(daemons, "new")
    assert list((await images(daemons)).values()) == [["new"]] * 3


async def test_a_surge_keeps_the_old_until_the_new_serves(daemons: Timed) -> None:
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    await daemon_set(daemons, {"type": "RollingUpdate", "rollingUpdate": rolling})
    await ready(daemons, "i")
    await change(daemons, "new")
    assert sorted((await images(daemons)).values()) == [["i"], ["i"], ["i", "new"]]
    await ready(daemons, "new")
    assert sorted((await images(daemons)).values()) == [["i"], ["i", "new"], ["new"]]
    # An old pod that no longer serves makes room at once.
    await ready(daemons, "i", "Pending")
    assert sorted((await images(daemons)).values()) == [["new"]] * 3


async def test_on_delete_nothing_is_replaced(daemons: Timed) -> None:
    await daemon_set(daemons, {"type": "OnDelete"})
    await change(daemons, "new")
    assert list((await images(daemons)).values()) == [["i"]] * 3
    (pod,) = (p for p in (await daemons.client.list(PODS, NAMESPACE)).items if node_of(p) == "b")
    await daemons.client.delete(PODS, pod["metadata"]["name"], NAMESPACE)
    assert list((await images(daemons)).values()) == [["i"], ["new"], ["i"]]


async def test_pods_that_keep_failing_are_replaced_more_and_more_slowly(daemons: Timed) -> None:
    await daemon_set(daemons, nodeSelector={"disk": "a"})
    seen = set()
    for wait in (0.0, 1.0, 2.0, 4.0):
        (pod,) = (await daemons.client.list(PODS, NAMESPACE)).items
        seen.add(pod["metadata"]["uid"])
        await ready(daemons, "i", "Failed")
        if wait:
            await daemons.pass_(wait - 0.5)
            (same,) = (await daemons.client.list(PODS, NAMESPACE)).items
            assert same["metadata"]["uid"] == pod["metadata"]["uid"]
            await daemons.pass_(0.6)
    assert len(seen) == 4
    name = pod["metadata"]["name"]
    told = await daemons.told("d", "FailedDaemonPod")
    assert told[-1] == (f"Found failed daemon pod default/{name} on node a, will try to kill it")


async def test_revisions_beyond_the_limit_go(daemons: Timed) -> None:
    await daemon_set(daemons)
    await daemons.client.patch(DAEMON_SETS, "d", {"spec": {"revisionHistoryLimit": 1}}, NAMESPACE)
    for image in ("b", "c", "d"):
        await change(daemons, image)
        await images(daemons)
    revisions = (await daemons.client.list(CONTROLLER_REVISIONS, NAMESPACE)).items
    assert sorted(r["revision"] for r in revisions) == [3, 4]
