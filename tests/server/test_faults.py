"""Faults on demand, seen by clients in the process and over HTTPS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

import cove
from cove.client import Client, UnreachableError, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.faults import EVERYBODY

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
PODS = GVR("", "v1", "pods")


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded() as made:
        yield made


@asynccontextmanager
async def over_https(cluster: EmbeddedCluster) -> AsyncIterator[Client]:
    """A client as everybody's: over the network, with the administrator's kubeconfig."""
    async with Client.connect(kubeconfig.load(str(cluster.kubeconfig_path))) as client:
        yield client


@pytest.fixture(params=["inside", "https"])
async def client(request: pytest.FixtureRequest, cluster: EmbeddedCluster) -> AsyncIterator[Client]:
    if request.param == "inside":
        yield cluster.client
        return
    async with over_https(cluster) as made:
        yield made


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


async def created(client: Client, name: str) -> bool:
    """Whether a create was answered well."""
    try:
        await client.create(CONFIG_MAPS, config_map(name))
    except (StatusError, UnreachableError):
        return False
    return True


async def exists(cluster: EmbeddedCluster, name: str) -> bool:
    return cluster.api.store.state.get("configmaps", "default", name) is not None


async def test_an_error_as_often_as_was_asked(cluster: EmbeddedCluster, client: Client) -> None:
    """Only what matches is struck; what is refused was not done."""
    fault = cluster.faults.error(503, verbs="create", resources="configmaps", skip=1, count=2)
    assert [await created(client, f"c-{i}") for i in range(5)] == [True, False, False, True, True]
    assert (fault.seen, fault.hits) == (3, 2)
    assert not await exists(cluster, "c-1")
    await client.list(CONFIG_MAPS)


async def test_the_status_is_the_one_that_upstream_sends(
    cluster: EmbeddedCluster, client: Client
) -> None:
    await client.create(CONFIG_MAPS, config_map("a"))
    with cluster.faults.error(409, verbs="patch"):
        with pytest.raises(StatusError) as caught:
            await client.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, "default")
    assert caught.value.reason == "Conflict"
    assert caught.value.message.startswith('Operation cannot be fulfilled on configmaps "a": ')
    assert caught.value.details == {"name": "a", "kind": "configmaps"}


async def test_retry_after_is_told_in_header_and_body(cluster: EmbeddedCluster) -> None:
    """Clients that know it wait and try again."""
    fault = cluster.faults.error(429, retry_after=7, resources="configmaps")
    tls = ssl.create_default_context(cadata=cluster.credentials.authority.decode())
    token = (
        await cluster.client.create(
            GVR("", "v1", "serviceaccounts"),
            {"spec": {}},
            "default",
            name="default",
            subresource="token",
        )
    )["status"]["token"]
    path = f"{cluster.url}/api/v1/namespaces/default/configmaps"
    async with (
        aiohttp.ClientSession() as session,
        session.get(path, ssl=tls, headers={"Authorization": f"Bearer {token}"}) as answer,
    ):
        body = await answer.json()
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "7"
    assert (body["reason"], body["details"]["retryAfterSeconds"]) == ("TooManyRequests", 7)
    assert fault.hits == 1


async def test_the_rate_is_the_same_in_every_run() -> None:
    async def run() -> list[bool]:
        async with cove.embedded(controllers=False) as cluster:
            cluster.faults.error(500, verbs="create", resources="configmaps", rate=0.3)
            return [await created(cluster.client, f"c-{i}") for i in range(60)]

    first = await run()
    assert 5 < first.count(False) < 35
    assert await run() == first


async def test_who_and_what_is_meant(cluster: EmbeddedCluster) -> None:
    """By user, agent, namespace, name, subresource and path."""
    faults = cluster.faults
    admin, other = cluster.client, cluster.client.named("other/1.0")
    with faults.error(500, users="nobody"):
        assert await created(admin, "a")
    with faults.error(500, users="admin"):
        assert not await created(admin, "b")
    with faults.error(500, agents="other/*"):
        assert await created(admin, "c")
        assert not await created(other, "d")
    with faults.error(500, namespaces="kube-system"):
        assert await created(admin, "e")
    with faults.error(500, names="a*", verbs=("get", "delete")):
        await admin.get(CONFIG_MAPS, "c", "default")
        with pytest.raises(StatusError, match="injected"):
            await admin.get(CONFIG_MAPS, "a", "default")
    with faults.error(500, paths="/version*"):
        await admin.list(CONFIG_MAPS)
        with pytest.raises(StatusError, match="injected"):
            await admin.version()
    with faults.error(500, resources="deployments/scale"):
        with pytest.raises(StatusError, match="not found"):
            await admin.get(DEPLOYMENTS, "none", "default")
        with pytest.raises(StatusError, match="injected"):
            await admin.get(DEPLOYMENTS, "none", "default", subresource="scale")
    assert faults.active == ()


@pytest.mark.parametrize("after", [False, True])
async def test_a_reset_before_or_after_the_write(
    cluster: EmbeddedCluster, client: Client, after: bool
) -> None:
    """After it the write is done, and only its answer is lost."""
    cluster.faults.reset(after=after, verbs="create", resources="configmaps", count=1)
    with pytest.raises(UnreachableError):
        await client.create(CONFIG_MAPS, config_map("a"))
    assert await exists(cluster, "a") is after
    assert await created(client, "b")


async def test_latency_is_of_the_clusters_clock(cluster: EmbeddedCluster) -> None:
    cluster.faults.latency(30, verbs="create")
    creating = asyncio.create_task(created(cluster.client, "a"))
    await cluster.clock.advance(29)
    assert not creating.done()
    await cluster.clock.advance(2)
    assert await creating


async def test_what_hangs_goes_on_when_the_fault_is_lifted(
    cluster: EmbeddedCluster, client: Client
) -> None:
    with cluster.faults.hang(verbs="create"):
        creating = asyncio.create_task(created(client, "a"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(creating), 0.05)
    assert await creating


async def watched(client: Client, revision: str = "") -> tuple[list[str], str]:
    """The names of the events of a watch up to its end, and how it ended."""
    seen: list[str] = []
    try:
        async with (
            asyncio.timeout(10),
            client.watch(CONFIG_MAPS, "default", resource_version=revision) as events,
        ):
            async for event in events:
                seen.append(event.object["metadata"]["name"])
    except StatusError as e:
        return seen, str(e.code)
    except UnreachableError:
        return seen, "cut"
    return seen, "end"


@pytest.mark.parametrize(
    ("options", "end"), [({}, "end"), ({"code": 410}, "410"), ({"cut": True}, "cut")]
)
async def test_watches_end_after_so_many_events(
    cluster: EmbeddedCluster, client: Client, options: dict[str, Any], end: str
) -> None:
    revision = (await client.list(CONFIG_MAPS)).resource_version
    fault = cluster.faults.drop_watches(events=2, resources="configmaps", count=1, **options)
    watching = asyncio.create_task(watched(client, revision))
    while not fault.hits:
        await asyncio.sleep(0.001)
    for i in range(4):
        await client.create(CONFIG_MAPS, config_map(f"c-{i}"))
    assert await watching == (["c-0", "c-1"], end)


async def test_a_stalled_watch_goes_on_without_loss(
    cluster: EmbeddedCluster, client: Client
) -> None:
    """Silent in between, though its connection is there."""
    revision = (await client.list(CONFIG_MAPS)).resource_version
    fault = cluster.faults.stall_watches(events=1, resources="configmaps", count=1)
    seen: list[str] = []
    heard = asyncio.Event()
    async with client.watch(CONFIG_MAPS, "default", resource_version=revision) as events:

        async def read() -> None:
            async for event in events:
                seen.append(event.object["metadata"]["name"])
                if len(seen) in (1, 4):
                    heard.set()

        reading = asyncio.create_task(read())
        for i in range(4):
            await client.create(CONFIG_MAPS, config_map(f"c-{i}"))
        async with asyncio.timeout(10):
            await heard.wait()
        await client.list(CONFIG_MAPS)
        assert seen == ["c-0"]
        heard.clear()
        fault.lift()
        async with asyncio.timeout(10):
            await heard.wait()
        reading.cancel()
        await asyncio.wait([reading])
    assert seen == ["c-0", "c-1", "c-2", "c-3"]


async def test_watches_are_disconnected_at_once(cluster: EmbeddedCluster, client: Client) -> None:
    revision = (await client.list(CONFIG_MAPS)).resource_version
    async with client.watch(CONFIG_MAPS, "default", resource_version=revision) as events:
        await client.create(CONFIG_MAPS, config_map("a"))
        async with asyncio.timeout(10):
            await anext(events)
            cluster.faults.disconnect("configmaps")
            assert [event async for event in events] == []


async def test_what_is_forgotten_is_too_old(cluster: EmbeddedCluster, client: Client) -> None:
    """Watches and pages of before answer 410."""
    for i in range(3):
        await client.create(CONFIG_MAPS, config_map(f"c-{i}"))
    page = await client.request("GET", "/api/v1/namespaces/default/configmaps", query={"limit": 1})
    await client.create(CONFIG_MAPS, config_map("later"))
    cluster.faults.compact()
    assert await watched(client, page["metadata"]["resourceVersion"]) == ([], "410")
    with pytest.raises(StatusError) as caught:
        await client.request(
            "GET",
            "/api/v1/namespaces/default/configmaps",
            query={"limit": 1, "continue": page["metadata"]["continue"]},
        )
    assert caught.value.code == 410


async def test_controllers_get_there_although_every_third_request_fails(
    cluster: EmbeddedCluster,
) -> None:
    """Of everybody's, watches too: retries and lists make good for it."""
    faults = cluster.faults
    faults.error(500, users=EVERYBODY, rate=0.2, verbs=("create", "update", "patch", "list"))
    faults.reset(users=EVERYBODY, rate=0.1, after=True, verbs=("create", "patch"))
    faults.disconnect()
    labels = {"app": "web"}
    doc = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 5,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]},
            },
        },
    }
    for _ in range(50):
        try:
            await cluster.client.create(DEPLOYMENTS, doc)
        except UnreachableError:
            break
        except StatusError as e:
            if e.reason == "AlreadyExists":
                break
        else:
            break
    await cluster.clock.advance(600)
    faults.clear()
    await cluster.clock.advance(60)
    found = await cluster.client.get(DEPLOYMENTS, "web", "default")
    assert found["status"]["readyReplicas"] == 5
    assert len((await cluster.client.list(PODS, "default")).items) == 5


async def test_a_restart_keeps_objects_and_port(cluster: EmbeddedCluster) -> None:
    """Connections break, watches have to list again, controllers find back."""
    async with over_https(cluster) as client:
        made = await client.create(CONFIG_MAPS, config_map("a"))
        url = cluster.url
        async with client.watch(
            CONFIG_MAPS, "default", resource_version=made["metadata"]["resourceVersion"]
        ) as events:
            await client.create(CONFIG_MAPS, config_map("b"))
            await cluster.restart()
            async with asyncio.timeout(10):
                assert len([event async for event in events]) <= 1
        assert cluster.url == url
        assert (await client.get(CONFIG_MAPS, "a", "default"))["metadata"] == made["metadata"]
        assert (await watched(client, made["metadata"]["resourceVersion"]))[1] == "410"
        await cluster.client.create(GVR("", "v1", "namespaces"), {"metadata": {"name": "new"}})
        await cluster.clock.advance(60)
        await client.get(GVR("", "v1", "serviceaccounts"), "default", "new")


async def test_nobody_is_answered_while_the_server_is_down(cluster: EmbeddedCluster) -> None:
    restarting = asyncio.create_task(cluster.restart(downtime=30))
    await cluster.clock.advance(10)
    with pytest.raises(UnreachableError):
        await cluster.client.list(CONFIG_MAPS)
    async with over_https(cluster) as client:
        with pytest.raises(UnreachableError):
            await client.list(CONFIG_MAPS)
        await cluster.clock.advance(30)
        await restarting
        await client.list(CONFIG_MAPS)
    await cluster.client.list(CONFIG_MAPS)


async def test_a_fork_has_faults_of_its_own(cluster: EmbeddedCluster) -> None:
    cluster.faults.error(500, verbs="create")
    async with cluster.fork(controllers=False) as fork:
        assert await created(fork.client, "a")
    assert not await created(cluster.client, "a")


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("error", {"code": 200}, "between 400 and 599"),
        ("error", {"code": 500, "verbs": "destroy"}, "no such verb: destroy"),
        ("error", {"code": 500, "rate": 0}, "share of requests"),
        ("error", {"code": 500, "count": 0}, "how many requests"),
        ("error", {"code": 500, "skip": -1}, "let pass first"),
        ("latency", {"seconds": -1}, "negative"),
        ("drop_watches", {"code": 410, "cut": True}, "not by both"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    cluster: EmbeddedCluster, method: str, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        getattr(cluster.faults, method)(**arguments)
    assert cluster.faults.active == ()
