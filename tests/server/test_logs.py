"""pods/log of simulated pods: a line that says so, and the options of every log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import cove
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

PODS = GVR("", "v1", "pods")
LOG = "/api/v1/namespaces/default/pods/solo/log"
LINE = (
    "cove: container main of pod default/solo is simulated: nothing runs in it, so it writes no "
    "log\n"
)


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded() as made:
        await made.client.create(PODS, pod("solo", "main"))
        await made.settle()
        yield made


def pod(name: str, *containers: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": c, "image": "busybox"} for c in containers]},
    }


async def log(cluster: EmbeddedCluster, **query: Any) -> str:
    return (await cluster.client.raw("GET", LOG, query=query)).decode()


async def test_options_choose_what_is_told(cluster: EmbeddedCluster) -> None:
    """Lines, bytes, time stamps, and since when."""
    assert await log(cluster) == LINE
    assert await log(cluster, tailLines=0) == ""
    assert await log(cluster, tailLines=5, limitBytes=5) == "cove:"
    stamp, _, rest = (await log(cluster, timestamps="true")).partition(" ")
    started = (await cluster.client.get(PODS, "solo", "default"))["status"]["startTime"]
    assert (stamp, rest) == (started, LINE)
    await cluster.clock.advance(100)
    assert await log(cluster, sinceSeconds=50) == ""
    assert await log(cluster, sinceSeconds=200) == LINE
    assert await log(cluster, sinceTime=cluster.api.timestamp()) == ""


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ({"tailLines": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"tailLines": -1}, 422, "tailLines: Invalid value: -1: must be greater than or equal"),
        ({"limitBytes": 0}, 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": 0}, 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"sinceSeconds": 1, "sinceTime": "2026-01-01T00:00:00Z"},
            422,
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        ({"container": "other"}, 400, "container other is not valid for pod solo"),
        ({"previous": "true"}, 400, 'previous terminated container "main" in pod "solo" not found'),
    ],
)
async def test_what_cannot_be_asked(
    cluster: EmbeddedCluster, query: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(StatusError) as caught:
        await log(cluster, **query)
    assert caught.value.code == code
    assert text in caught.value.message


async def test_one_of_several_containers_has_to_be_named(cluster: EmbeddedCluster) -> None:
    await cluster.client.create(PODS, pod("two", "a", "b"))
    with pytest.raises(StatusError, match=r"choose one of: \[a b\]"):
        await cluster.client.raw("GET", LOG.replace("solo", "two"))


async def test_who_follows_is_told_until_the_pod_is_gone(cluster: EmbeddedCluster) -> None:
    heard = asyncio.Event()
    told: list[bytes] = []

    async def follow() -> None:
        async with cluster.client.transport.stream("GET", LOG, query="follow=true") as stream:
            async for chunk in stream.chunks:
                told.append(chunk)
                heard.set()

    following = asyncio.create_task(follow())
    async with asyncio.timeout(10):
        await heard.wait()
        await cluster.settle()
        assert not following.done()
        await cluster.client.delete(PODS, "solo", "default", grace=0)
        await following
    assert b"".join(told).decode() == LINE
