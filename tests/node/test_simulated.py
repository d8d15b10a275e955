"""Simulated nodes: pods that run on paper, and say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Any

import pytest

from cove.client import Client, ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.node import SimulatedNodes, simulated_specs
from cove.node.addresses import Addresses, SubnetExhaustedError
from cove.node.simulated import ANNOTATION

Doc = dict[str, Any]
PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
LEASES = GVR("coordination.k8s.io", "v1", "leases")


class Place:
    """A cluster of one simulated node, without a scheduler."""

    def __init__(self, client: Client, clock: ManualClock) -> None:
        self.client = client
        self.clock = clock

    async def pod(self, simulate: str = "", **spec: Any) -> Doc:
        annotations = {ANNOTATION: simulate} if simulate else {}
        return await self.client.create(
            PODS,
            {
                "metadata": {"name": "p", "annotations": annotations},
                "spec": {
                    "nodeName": "node-0",
                    "containers": [{"name": "c", "image": "i"}],
                    **spec,
                },
            },
            "default",
        )

    async def until(self, fits: Callable[[Doc], bool]) -> Doc:
        async with asyncio.timeout(10), self.client.watch(PODS, "default") as events:
            async for event in events:
                if event.type != "BOOKMARK" and fits(event.object):
                    return event.object
        raise AssertionError("the watch ended")


@pytest.fixture
async def place(api: EmbeddedCluster) -> AsyncIterator[Place]:
    clock = ManualClock()
    async with SimulatedNodes(api.client, 1, clock=clock, pod_subnet=ip_network("10.9.0.0/24")):
        yield Place(api.client, clock)


def condition(obj: Doc, type: str) -> Doc:
    return next(c for c in obj["status"]["conditions"] if c["type"] == type)


def phase(name: str) -> Callable[[Doc], bool]:
    return lambda o: o["status"].get("phase") == name


async def test_a_node_says_that_it_is_simulated(place: Place) -> None:
    node = await place.client.get(NODES, "node-0")
    assert node["metadata"]["labels"]["cove.dev/simulated"] == "true"
    assert "simulated" in node["metadata"]["annotations"]["cove.dev/simulated"]
    assert condition(node, "Simulated")["status"] == "True"
    assert condition(node, "Ready")["status"] == "True"
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("cove-simulated://")
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.2"


async def test_a_node_beats(place: Place) -> None:
    async with asyncio.timeout(10), place.client.watch(LEASES, "kube-node-lease") as events:
        async for event in events:
            assert event.object["spec"]["holderIdentity"] == "node-0"
            break


async def test_a_pod_runs(place: Place) -> None:
    inits = [{"name": "prepare", "image": "i"}]
    await place.pod(initContainers=inits)
    pod = await place.until(phase("Running"))
    status = pod["status"]
    assert status["podIP"] == "10.9.0.2"
    assert status["hostIP"] == "198.18.0.1"
    assert condition(pod, "Ready")["status"] == "True"
    (container,) = status["containerStatuses"]
    assert container["ready"]
    assert "running" in container["state"]
    (init,) = status["initContainerStatuses"]
    assert init["state"]["terminated"]["reason"] == "Completed"


async def test_a_pod_on_another_node_is_left_alone(place: Place) -> None:
    await place.pod(nodeName="elsewhere")
    pod = await place.until(lambda _: True)
    assert pod["status"]["phase"] == "Pending"


async def test_a_pod_ends_when_told(place: Place) -> None:
    await place.pod("exit=0,after=5s", restartPolicy="Never")
    await place.until(phase("Running"))
    place.clock.advance(5)
    pod = await place.until(phase("Succeeded"))
    assert condition(pod, "Ready")["reason"] == "PodCompleted"


async def test_a_failing_pod_is_restarted_later_and_later(place: Place) -> None:
    await place.pod("exit=1", restartPolicy="Always")

    def waiting(pod: Doc) -> bool:
        (container,) = pod["status"].get("containerStatuses") or [{"state": {}}]
        return "waiting" in container["state"]

    await place.until(phase("Running"))
    place.clock.advance(0)
    pod = await place.until(waiting)
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 1
    place.clock.advance(10)
    pod = await place.until(
        lambda p: (p["status"].get("containerStatuses") or [{}])[0].get("restartCount") == 1
    )


async def test_readiness_gates_are_waited_for(place: Place) -> None:
    await place.pod(readinessGates=[{"conditionType": "example.com/go"}])
    pod = await place.until(phase("Running"))
    assert condition(pod, "Ready")["reason"] == "ReadinessGatesNotReady"
    gate = {"type": "example.com/go", "status": "True"}
    await place.client.patch(
        PODS,
        "p",
        {"status": {"conditions": [gate]}},
        "default",
        type="strategic",
        subresource="status",
    )
    await place.until(lambda p: phase("Running")(p) and condition(p, "Ready")["status"] == "True")


async def test_a_deleted_pod_is_taken_away(place: Place) -> None:
    await place.pod()
    await place.until(phase("Running"))
    since = (await place.client.list(PODS, "default")).resource_version
    async with asyncio.timeout(10):
        async with place.client.watch(PODS, "default", resource_version=since) as events:
            await place.client.delete(PODS, "p", "default")
            async for event in events:
                if event.type == "DELETED":
                    break


async def test_many_nodes_beat_together(api: EmbeddedCluster) -> None:
    async with SimulatedNodes(api.client, simulated_specs(50, prefix="many")):
        assert len((await api.client.list(NODES)).items) == 50


async def test_nodes_that_come_back_are_the_same(api: EmbeddedCluster) -> None:
    async with SimulatedNodes(api.client, 1):
        before = await api.client.get(NODES, "node-0")
    async with SimulatedNodes(api.client, 1):
        after = await api.client.get(NODES, "node-0")
    assert before["metadata"]["uid"] == after["metadata"]["uid"]


def test_addresses_come_back_last() -> None:
    addresses = Addresses(ip_network("10.0.0.0/29"))
    first = [addresses.take() for _ in range(5)]
    assert len(set(first)) == 5
    with pytest.raises(SubnetExhaustedError):
        addresses.take()
    addresses.free(first[0])
    assert addresses.take() == first[0]


async def test_a_job_completes_by_itself(cluster: EmbeddedCluster) -> None:
    """What is meant to end ends: a chart's hook does not hang on a simulated node."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": "default"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "c", "image": "registry.example.com/job:1"}],
                }
            }
        },
    }
    jobs = GVR("batch", "v1", "jobs")
    await cluster.client.create(jobs, job)
    async with (
        asyncio.timeout(30),
        cluster.client.watch(jobs, "default", resource_version="0") as events,
    ):
        async for event in events:
            if (event.object.get("status") or {}).get("succeeded") == 1:
                break
