"""Time that a test advances: everything in the cluster goes by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import cove
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.times import parse_time

CONFIG_MAPS = GVR("", "v1", "configmaps")
CRON_JOBS = GVR("batch", "v1", "cronjobs")
JOBS = GVR("batch", "v1", "jobs")
NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
DEPLOYMENTS = GVR("apps", "v1", "deployments")

CONTAINERS = [{"name": "main", "image": "busybox"}]


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded() as made:
        yield made


def cron_job(schedule: str) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": CONTAINERS}}
    return {
        "metadata": {"name": "backup", "namespace": "default"},
        "spec": {
            "schedule": schedule,
            "successfulJobsHistoryLimit": 10,
            "jobTemplate": {"spec": {"template": template}},
        },
    }


async def test_a_cron_job_has_run_every_hour(cluster: EmbeddedCluster) -> None:
    """Each job at its time, and done a second later."""
    await cluster.client.create(CRON_JOBS, cron_job("0 * * * *"))
    await cluster.clock.advance(3 * 3600)
    jobs = (await cluster.client.list(JOBS)).items
    times = sorted(parse_time(j["metadata"]["creationTimestamp"]) for j in jobs)
    assert [t.minute for t in times] == [0, 0, 0]
    assert times[2] - times[0] == timedelta(hours=2)
    assert all(j["status"]["succeeded"] == 1 for j in jobs)


async def test_nodes_beat_while_time_is_advanced(cluster: EmbeddedCluster) -> None:
    """An hour passes for nodes and the node lifecycle alike."""
    await cluster.clock.advance(3600)
    (node,) = (await cluster.client.list(NODES)).items
    conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"


async def test_settled_controllers_have_done_what_there_was(cluster: EmbeddedCluster) -> None:
    labels = {"app": "web"}
    await cluster.client.create(
        DEPLOYMENTS,
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": 5,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": CONTAINERS}},
            },
        },
    )
    await cluster.settle()
    found = await cluster.client.get(DEPLOYMENTS, "web", "default")
    assert found["status"]["readyReplicas"] == 5


async def test_a_fork_goes_by_a_clock_of_its_own(cluster: EmbeddedCluster) -> None:
    await cluster.clock.advance(600)
    async with cluster.fork() as fork:
        assert abs(fork.clock.now() - cluster.clock.now()) < timedelta(minutes=1)
        await fork.clock.advance(3600)
        made = await fork.client.create(
            CONFIG_MAPS, {"metadata": {"name": "later", "namespace": "default"}}
        )
        ahead = parse_time(made["metadata"]["creationTimestamp"]) - cluster.clock.now()
        assert ahead > timedelta(minutes=59)


async def test_a_watch_ends_at_its_time_also_while_events_come(cluster: EmbeddedCluster) -> None:
    """A busy watch was once one that never ended."""
    client = cluster.client
    async with client.watch(CONFIG_MAPS, "default", timeout_seconds=60) as events:
        seen: list[str] = []

        async def read() -> None:
            async for event in events:
                seen.append(event.object["metadata"]["name"])

        reading = asyncio.create_task(read())
        for i in range(7):
            await client.create(
                CONFIG_MAPS, {"metadata": {"name": f"c-{i}", "namespace": "default"}}
            )
            await cluster.clock.advance(10)
        async with asyncio.timeout(5):
            await reading
    assert "c-0" in seen
    assert "c-6" not in seen


async def test_a_fork_of_the_past_is_the_cluster_as_it_was(cluster: EmbeddedCluster) -> None:
    """Whatever was written since; the future and what is long gone are refused."""
    client = cluster.client
    made = await client.create(
        CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}, "data": {"k": "1"}}
    )
    then = int(made["metadata"]["resourceVersion"])
    await client.patch(CONFIG_MAPS, "a", {"data": {"k": "2"}}, "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    async with cluster.fork(revision=then, controllers=False) as past:
        assert (await past.client.get(CONFIG_MAPS, "a", "default"))["data"] == {"k": "1"}
        await past.client.create(CONFIG_MAPS, {"metadata": {"name": "b", "namespace": "default"}})
    with pytest.raises(ValueError, match="yet to come"):
        async with cluster.fork(revision=10**9):
            pass
    with pytest.raises(cove.StatusError) as caught:
        async with cluster.fork(revision=0):
            pass
    assert caught.value.code == 410


async def test_events_end_an_hour_after_they_were_last_written(cluster: EmbeddedCluster) -> None:
    events = GVR("", "v1", "events")
    about = {"kind": "ConfigMap", "name": "a", "namespace": "default", "apiVersion": "v1"}

    async def write(name: str) -> None:
        await cluster.client.create(
            events,
            {
                "metadata": {"name": name, "namespace": "default"},
                "involvedObject": about,
                "reason": "Test",
                "type": "Normal",
            },
        )

    async def names() -> set[str]:
        listed = (await cluster.client.list(events, "default")).items
        return {e["metadata"]["name"] for e in listed if e.get("reason") == "Test"}

    await write("once")
    await write("again")
    await cluster.clock.advance(1800)
    now = cluster.api.timestamp()
    await cluster.client.patch(events, "again", {"count": 2, "lastTimestamp": now}, "default")
    await cluster.clock.advance(1700)
    assert await names() == {"once", "again"}
    await cluster.clock.advance(200)
    assert await names() == {"again"}
    await cluster.clock.advance(1800)
    assert await names() == set()
