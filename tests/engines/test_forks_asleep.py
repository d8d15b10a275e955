"""Controllers of forks start when there is something for them to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import cove
from cove.engines._slumber import Slumber
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.store import Store

CONFIGMAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
NAMESPACES = GVR("", "v1", "namespaces")
QUOTAS = GVR("", "v1", "resourcequotas")
CRONJOBS = GVR("batch", "v1", "cronjobs")
JOBS = GVR("batch", "v1", "jobs")

Doc = dict[str, Any]
POD: Doc = {"containers": [{"name": "c", "image": "i"}]}


@pytest.fixture
async def warm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[cove.EmbeddedCluster]:
    # Nobody wakes because this machine is slow.
    monkeypatch.setattr("cove.engines._slumber.LONGEST", 3600.0)
    async with cove.embedded() as cluster:
        await cluster.settle()
        yield cluster


def asleep(fork: cove.Fork) -> bool:
    return fork._slumber is not None and fork._slumber.asleep


def config(name: str, **metadata: Any) -> Doc:
    return {"metadata": {"name": name, **metadata}}


async def gone(fork: cove.Fork, gvr: GVR, name: str) -> bool:
    await fork.settle()
    try:
        await fork.client.get(gvr, name, "default")
    except StatusError as e:
        return e.code == 404
    return False


async def test_what_no_controller_looks_at_wakes_none(warm: cove.EmbeddedCluster) -> None:
    async with warm.fork() as fork:
        await fork.client.create(CONFIGMAPS, config("a"), "default")
        await fork.client.patch(CONFIGMAPS, "a", {"data": {"k": "v"}}, "default")
        await fork.client.create(SECRETS, config("s"), "default")
        assert asleep(fork)


async def test_a_deployment_wakes_them(warm: cove.EmbeddedCluster) -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD},
    }
    async with warm.fork() as fork:
        await fork.client.create(
            DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default"
        )
        assert not asleep(fork)
        await fork.settle()
        web = await fork.client.get(DEPLOYMENTS, "web", "default")
    assert web["status"]["readyReplicas"] == 1


async def test_what_they_slept_through_is_seen(warm: cove.EmbeddedCluster) -> None:
    owner = await warm.client.create(CONFIGMAPS, config("owner"), "default")
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    await warm.client.create(CONFIGMAPS, config("child", ownerReferences=[reference]), "default")
    await warm.settle()
    async with warm.fork() as fork:
        await fork.client.delete(CONFIGMAPS, "owner", "default")
        assert await gone(fork, CONFIGMAPS, "child")


async def test_a_published_object_that_is_deleted_comes_back(warm: cove.EmbeddedCluster) -> None:
    async with warm.fork() as fork:
        await fork.client.delete(CONFIGMAPS, "kube-root-ca.crt", "default")
        assert not await gone(fork, CONFIGMAPS, "kube-root-ca.crt")


async def test_what_a_quota_counts_wakes_them(warm: cove.EmbeddedCluster) -> None:
    await warm.client.create(
        QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "5"}}}, "default"
    )
    await warm.settle()
    before = (await warm.client.get(QUOTAS, "q", "default"))["status"]["used"]["configmaps"]
    async with warm.fork() as fork:
        await fork.client.create(CONFIGMAPS, config("counted"), "default")
        await fork.settle()
        quota = await fork.client.get(QUOTAS, "q", "default")
    assert int(quota["status"]["used"]["configmaps"]) == int(before) + 1


async def test_time_wakes_them(warm: cove.EmbeddedCluster) -> None:
    job = {"template": {"spec": {"restartPolicy": "Never", **POD}}}
    spec = {"schedule": "0 * * * *", "jobTemplate": {"spec": job}}
    await warm.client.create(CRONJOBS, {"metadata": {"name": "hourly"}, "spec": spec}, "default")
    await warm.settle()
    async with warm.fork() as fork:
        assert asleep(fork)
        await fork.clock.advance(3601)
        jobs = (await fork.client.list(JOBS, "default")).items
    assert len(jobs) == 1


async def test_a_fork_of_a_fork_asleep_sleeps_too(warm: cove.EmbeddedCluster) -> None:
    async with warm.fork() as fork, fork.fork() as second:
        assert asleep(second)
        await second.client.create(NAMESPACES, config("n"))
        await second.settle()
        assert (await second.client.get(CONFIGMAPS, "kube-root-ca.crt", "n"))["data"]
        assert asleep(fork)


async def test_where_somebody_is_at_work_nobody_sleeps(warm: cove.EmbeddedCluster) -> None:
    await warm.client.create(NAMESPACES, config("n"))
    async with warm.fork() as fork:
        assert fork._slumber is None
        await fork.settle()
        assert (await fork.client.get(CONFIGMAPS, "kube-root-ca.crt", "n"))["data"]


async def test_who_is_left_while_they_wake_leaves_nothing(warm: cove.EmbeddedCluster) -> None:
    before = asyncio.all_tasks()
    for turns in range(0, 60, 7):
        async with warm.fork() as fork:
            await fork.client.create(NAMESPACES, config("n"))
            for _ in range(turns):
                await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


async def test_a_start_that_fails_is_told() -> None:
    async def start(_stack: AsyncExitStack) -> None:
        raise OSError("no room")

    async def wake() -> None:
        async with Slumber(Store(), start) as slumber:
            with pytest.raises(OSError, match="no room"):
                await slumber.awake()

    with pytest.raises(OSError, match="no room"):
        await wake()
