"""The same controllers and nodes over HTTP, against a server that has none of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from world import NAMESPACE, World, pod_template

from cove.client import Client, kubeconfig
from cove.controllers import Manager
from cove.controllers._resources import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from cove.engines.embedded import EmbeddedCluster
from cove.node import SimulatedNodes

Doc = dict[str, Any]


@pytest.fixture
async def remote(api: EmbeddedCluster) -> AsyncIterator[World]:
    connection = kubeconfig.load(yaml.safe_load(api.kubeconfig))
    async with Client.connect(connection) as client:
        ca = api.credentials.authority.decode()
        async with Manager(client, ca=ca, authority=lambda: api.authority) as manager:
            async with SimulatedNodes(client, 2, informers=manager.informers):
                yield World(client)


def ready(generation: int, image: str) -> Any:
    def fits(obj: Doc) -> bool:
        status = obj.get("status", {})
        return (
            status.get("observedGeneration", 0) >= generation
            and status.get("availableReplicas") == 3
            and status.get("updatedReplicas") == 3
            and status.get("replicas") == 3
            and obj["spec"]["template"]["spec"]["containers"][0]["image"] == image
        )

    return fits


async def test_a_deployment_lives_and_dies(remote: World) -> None:
    body = {
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "d"}},
            "template": pod_template({"app": "d"}),
        }
    }
    await remote.create(DEPLOYMENTS, "d", body)
    await remote.one(DEPLOYMENTS, "d", ready(1, "i"))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}
    rolled = await remote.client.patch(DEPLOYMENTS, "d", change, NAMESPACE, type="strategic")
    await remote.one(DEPLOYMENTS, "d", ready(rolled["metadata"]["generation"], "j"))
    pods = await remote.until(PODS, lambda found: len(found) == 3, labels="app=d")
    assert {p["spec"]["containers"][0]["image"] for p in pods} == {"j"}
    assert {p["spec"]["nodeName"] for p in pods} <= {"node-0", "node-1"}
    assert len((await remote.client.list(NODES)).items) == 2
    await remote.client.delete(DEPLOYMENTS, "d", NAMESPACE, propagation="Background")
    for collection in (REPLICA_SETS, PODS):
        await remote.until(collection, lambda found: not found)
