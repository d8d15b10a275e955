"""What the cluster says of workloads: as much as can be had, whatever goes wrong meanwhile."""

from __future__ import annotations

from cove.client import Client, Connection
from cove.engines.embedded import EmbeddedCluster
from cove.host.diagnose import WORKLOADS, diagnose
from cove.host.rollout import Target
from cove.kube.gvk import GVR

DEPLOYMENTS = GVR("apps", "v1", "deployments")
QUOTAS = GVR("", "v1", "resourcequotas")


def target(name: str) -> Target:
    return Target(DEPLOYMENTS, "Deployment", "default", name)


def deployment(name: str) -> dict[str, object]:
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"cove.dev/simulate": "ready=never"}},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]},
            },
        },
    }


async def test_a_cluster_that_is_gone_is_no_error() -> None:
    async with Client.connect(Connection(server="http://127.0.0.1:9")) as client:
        told = await diagnose(client, [target("web")])

    assert told[0].startswith("deployment/web: ")


async def test_what_is_not_there_is_not_told(cluster: EmbeddedCluster) -> None:
    assert await diagnose(cluster.client, [target("web")]) == []


async def test_what_its_replica_set_is_refused_is_told(cluster: EmbeddedCluster) -> None:
    """Pods that were never made have no events of their own."""
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await cluster.client.create(QUOTAS, quota, "default")
    events = GVR("", "v1", "events")
    async with cluster.client.watch(events, "default") as happened:
        await cluster.client.create(DEPLOYMENTS, deployment("web"), "default")
        async for event in happened:
            if event.object.get("reason") == "FailedCreate":
                break

    (told,) = await diagnose(cluster.client, [target("web")])

    assert "event of replicaset web-" in told
    assert "exceeded quota: none" in told


async def test_of_many_only_some_are_told(cluster: EmbeddedCluster) -> None:
    names = [f"web-{index}" for index in range(WORKLOADS + 3)]
    for name in names:
        await cluster.client.create(DEPLOYMENTS, deployment(name), "default")

    told = await diagnose(cluster.client, map(target, names))

    assert len(told) == WORKLOADS + 1
    assert told[-1] == "… and others"
