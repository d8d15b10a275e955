"""What keeps a cluster tidy: garbage, namespaces, budgets, volumes, quotas, roles, nodes."""

from __future__ import annotations

from typing import Any

import pytest
from world import NAMESPACE, World, pod_template

from cove.client import ManualClock
from cove.controllers import Manager
from cove.controllers._resources import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from cove.controllers.nodelifecycle import GRACE, PERIOD
from cove.engines.embedded import EmbeddedCluster
from cove.kube.status import StatusError

Doc = dict[str, Any]


def owned(name: str, *owners: Doc, **extra: Any) -> Doc:
    return {
        "metadata": {
            "name": name,
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": o["metadata"]["name"],
                    "uid": o["metadata"]["uid"],
                    **extra,
                }
                for o in owners
            ],
        }
    }


async def test_dependents_go_with_their_owner(world: World) -> None:
    owner = await world.create(CONFIG_MAPS, "o", {})
    await world.create(SECRETS, "d", owned("d", owner))
    await world.client.delete(CONFIG_MAPS, "o", NAMESPACE, propagation="Background")
    await world.gone(SECRETS, "d")


async def test_one_of_two_owners_is_enough(world: World) -> None:
    first, second = [await world.create(CONFIG_MAPS, n, {}) for n in ("o1", "o2")]
    await world.create(SECRETS, "d", owned("d", first, second))
    await world.client.delete(CONFIG_MAPS, "o1", NAMESPACE)
    left = await world.one(
        SECRETS, "d", lambda o: len(o["metadata"].get("ownerReferences", ())) == 1
    )
    assert left["metadata"]["ownerReferences"][0]["name"] == "o2"


async def test_foreground_waits_for_those_that_block(world: World) -> None:
    owner = await world.create(CONFIG_MAPS, "o", {})
    body = owned("d", owner, blockOwnerDeletion=True)
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await world.create(SECRETS, "d", body)
    await world.client.delete(CONFIG_MAPS, "o", NAMESPACE, propagation="Foreground")
    await world.one(SECRETS, "d", lambda o: "deletionTimestamp" in o["metadata"])
    held = await world.client.get(CONFIG_MAPS, "o", NAMESPACE)
    assert held["metadata"]["finalizers"] == ["foregroundDeletion"]
    await world.client.patch(SECRETS, "d", {"metadata": {"finalizers": None}}, NAMESPACE)
    await world.gone(CONFIG_MAPS, "o")


async def test_orphans_stay(world: World) -> None:
    owner = await world.create(CONFIG_MAPS, "o", {})
    await world.create(SECRETS, "d", owned("d", owner))
    await world.one(SECRETS, "d", lambda o: True)
    await world.client.delete(CONFIG_MAPS, "o", NAMESPACE, propagation="Orphan")
    await world.gone(CONFIG_MAPS, "o")
    orphan = await world.client.get(SECRETS, "d", NAMESPACE)
    assert "ownerReferences" not in orphan["metadata"]


async def test_an_owner_that_never_was_is_gone(world: World) -> None:
    ghost = {"metadata": {"name": "never", "uid": "11111111-2222-3333-4444-555555555555"}}
    try:
        await world.create(SECRETS, "d", owned("d", ghost))
    except StatusError as e:  # pragma: no cover - the create itself has to work
        pytest.fail(str(e))
    await world.gone(SECRETS, "d")


async def test_every_namespace_has_an_account(world: World) -> None:
    await world.client.create(NAMESPACES, {"metadata": {"name": "fresh"}})
    async with world.client.watch(SERVICE_ACCOUNTS, "fresh") as events:
        async for event in events:
            assert event.object["metadata"]["name"] == "default"
            break


async def test_budgets_count_healthy_pods(running: World) -> None:
    body = {
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "r"}},
            "template": pod_template({"app": "r"}),
        }
    }
    await running.create(REPLICA_SETS, "r", body)
    budget = {"spec": {"maxUnavailable": "34%", "selector": {"matchLabels": {"app": "r"}}}}
    await running.create(POD_DISRUPTION_BUDGETS, "b", budget)
    status = (
        await running.one(
            POD_DISRUPTION_BUDGETS, "b", lambda o: o.get("status", {}).get("currentHealthy") == 3
        )
    )["status"]
    assert (status["expectedPods"], status["desiredHealthy"]) == (3, 1)
    assert status["disruptionsAllowed"] == 2


async def test_a_claim_gets_the_smallest_volume_that_does(world: World) -> None:
    for name, size in (("small", "1Gi"), ("middle", "3Gi"), ("large", "9Gi")):
        await world.client.create(
            PERSISTENT_VOLUMES,
            {
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": size},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "manual",
                    "hostPath": {"path": "/x"},
                },
            },
        )
    await world.until(
        PERSISTENT_VOLUMES,
        lambda found: found != [] and all_phase(found, "Available"),
    )
    claim = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "manual",
            "resources": {"requests": {"storage": "2Gi"}},
        }
    }
    await world.create(PERSISTENT_VOLUME_CLAIMS, "c", claim)
    bound = await world.one(
        PERSISTENT_VOLUME_CLAIMS, "c", lambda o: o.get("status", {}).get("phase") == "Bound"
    )
    assert bound["spec"]["volumeName"] == "middle"


def all_phase(objects: list[Doc], phase: str) -> bool:
    return all(o.get("status", {}).get("phase") == phase for o in objects)


async def test_quotas_are_given_back(world: World) -> None:
    await world.create(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"count/secrets": "5"}}})
    await world.one(
        RESOURCE_QUOTAS, "q", lambda o: o.get("status", {}).get("used") == {"count/secrets": "0"}
    )
    await world.create(SECRETS, "s", {})
    await world.one(RESOURCE_QUOTAS, "q", lambda o: o["status"]["used"] == {"count/secrets": "1"})
    await world.client.delete(SECRETS, "s", NAMESPACE)
    await world.one(RESOURCE_QUOTAS, "q", lambda o: o["status"]["used"] == {"count/secrets": "0"})


async def test_aggregated_roles_collect_rules(world: World) -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    await world.client.create(
        CLUSTER_ROLES, {"metadata": {"name": "part", "labels": {"to": "all"}}, "rules": [rule]}
    )
    await world.client.create(
        CLUSTER_ROLES,
        {
            "metadata": {"name": "all"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]},
            "rules": [],
        },
    )
    async with world.client.watch(CLUSTER_ROLES, field_selector="metadata.name=all") as events:
        async for event in events:
            if event.object.get("rules"):
                assert event.object["rules"] == [rule]
                break


async def test_a_node_that_stops_beating_is_unreachable(api: EmbeddedCluster) -> None:
    clock = ManualClock()
    world = World(api.client)
    async with Manager(
        api.client, controllers=["node-lifecycle-controller"], clock=clock
    ) as manager:
        await world.client.create(NODES, {"metadata": {"name": "n"}})
        await world.until(NODES, lambda found: any("taints" in n["spec"] for n in found))
        await manager.idle()
        for _ in range(int(GRACE / PERIOD) + 2):
            clock.advance(PERIOD)
            await manager.idle()
        node = await world.one(
            NODES,
            "n",
            lambda n: any(
                t["key"] == "node.kubernetes.io/unreachable" for t in n["spec"].get("taints", ())
            ),
        )
    ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusNeverUpdated")


async def test_pods_leave_a_node_they_do_not_tolerate(running: World) -> None:
    body = {"spec": {"nodeName": "node-0", "containers": [{"name": "c", "image": "i"}]}}
    await running.create(PODS, "p", body)
    await running.one(PODS, "p", lambda o: o["status"].get("phase") == "Running")
    taint = {"key": "x", "value": "y", "effect": "NoExecute"}
    await running.client.patch(NODES, "node-0", {"spec": {"taints": [taint]}})
    await running.gone(PODS, "p")
