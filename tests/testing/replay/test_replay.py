"""A recorded run as a fixture: as a cluster, and as answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import BIN, Kubectl, execute
from tests.elsewhere import serving

from cove.client import Client, HttpTransport, UnreachableError, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.testing.replay import (
    Entry,
    NoRecordingError,
    Recording,
    RecordingProxy,
    StrictTransport,
    Writer,
    initial,
    replayed,
    strict_client,
)

MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
PODS = GVR("", "v1", "pods")
NAMESPACES = GVR("", "v1", "namespaces")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
CACHES = GVR("example.dev", "v1", "caches")
Doc = dict[str, Any]
Act = Callable[[Client], Awaitable[None]]
Record = Callable[[Act], Awaitable[Recording]]


def a_map(name: str, **data: str) -> Doc:
    return {"metadata": {"name": name}, "data": data}


@pytest.fixture
async def real() -> AsyncIterator[EmbeddedCluster]:
    """What stands for a real cluster."""
    async with serving("real", nodes=1) as cluster:
        yield cluster


@pytest.fixture
def record(real: EmbeddedCluster, tmp_path: Path) -> Record:
    async def run(act: Act) -> Recording:
        connection = kubeconfig.load(str(real.kubeconfig_path))
        with Writer(tmp_path / "run.cove", context="real") as writer:
            async with (
                HttpTransport(connection, timeout=None) as transport,
                RecordingProxy(transport, writer) as proxy,
                Client.connect(kubeconfig.load(yaml.safe_load(proxy.kubeconfig))) as client,
            ):
                await act(client)
        return Recording.load(tmp_path / "run.cove")

    return run


# -- as a cluster


@pytest.mark.requires("kubectl")
async def test_a_recorded_kubectl_run_is_served_again(
    real: EmbeddedCluster, tmp_path: Path
) -> None:
    """From ``cove record -- kubectl get`` to the same table from an embedded cluster."""
    there = Kubectl(real.kubeconfig_path)
    await there("create", "namespace", "shop")
    await there("create", "deployment", "web", "--image=nginx", "-n", "shop")
    await there("rollout", "status", "deployment/web", "-n", "shop")
    await there("create", "secret", "generic", "s", "--from-literal=a=hush-hush", "-n", "shop")
    file = tmp_path / "run.cove.gz"
    get = ("get", "deployments,pods,secrets", "-n", "shop", "--no-headers")
    done = await execute(
        str(BIN / "cove"), "record", "-o", str(file), "--", str(BIN / "kubectl"), *get,
        KUBECONFIG=str(real.kubeconfig_path), COVE_HOME=str(tmp_path),
    )  # fmt: skip
    assert done.code == 0, done.err

    async with replayed(file) as cluster:
        again = await Kubectl(cluster.kubeconfig_path)(*get)
        pods = (await cluster.client.list(PODS, "shop")).items
        secret = await cluster.client.get(SECRETS, "s", "shop")

    def but_ages(text: str) -> list[list[str]]:
        return [line.split()[:-1] for line in text.splitlines()]

    assert but_ages(again) == but_ages(done.out)
    assert [pod["status"]["phase"] for pod in pods] == ["Running"]
    assert pods == [
        {**pod, "metadata": {**pod["metadata"], "resourceVersion": mine["metadata"]["resourceVersion"]}}
        for pod, mine in zip((await real.client.list(PODS, "shop")).items, pods, strict=True)
    ]  # fmt: skip
    # As long as what it was, and none of it.
    assert base64.b64decode(secret["data"]["a"]) == b"*" * 9


async def test_it_is_as_it_was_before_the_run(real: EmbeddedCluster, record: Record) -> None:
    client = real.client
    for name in ("changed", "deleted", "swept", "read", "untold"):
        doc = {**a_map(name, x="before"), "metadata": {"name": name, "labels": {"is": name}}}
        await client.create(MAPS, doc, "default")

    async def act(client: Client) -> None:
        await client.get(MAPS, "read", "default")
        await client.patch(MAPS, "changed", {"data": {"x": "after"}}, "default")
        await client.patch(MAPS, "changed", {"data": {"x": "later"}}, "default")
        await client.delete(MAPS, "deleted", "default")
        await client.delete_collection(MAPS, "default", label_selector="is=swept")
        await client.create(MAPS, a_map("made", x="after"), "default")
        await client.apply(
            MAPS,
            {"apiVersion": "v1", "kind": "ConfigMap", **a_map("applied")},
            "default",
            field_manager="m",
        )
        await client.patch(MAPS, "made", {"data": {"x": "later"}}, "default")
        with pytest.raises(StatusError):
            await client.get(MAPS, "nobody", "default")
        await client.create(MAPS, a_map("nobody"), "default")
        await client.list(MAPS, "default")  # fmt: skip

    recording = await record(act)

    async with replayed(recording) as cluster:
        found = {
            doc["metadata"]["name"]: doc["data"]["x"]
            for doc in (await cluster.client.list(MAPS, "default")).items
            if doc["metadata"]["name"] != "kube-root-ca.crt"
        }
        was = await cluster.client.get(MAPS, "read", "default")
    names = ["changed", "deleted", "read", "swept", "untold"]
    assert found == dict.fromkeys(names, "before")
    now = await client.get(MAPS, "read", "default")
    assert was["metadata"]["uid"] == now["metadata"]["uid"]
    assert was["metadata"]["creationTimestamp"] == now["metadata"]["creationTimestamp"]


async def test_the_same_run_does_the_same_again(real: EmbeddedCluster, record: Record) -> None:
    """What was recorded can be run against the replay, as if against the cluster then."""
    await real.client.create(MAPS, a_map("a", x="1"), "default")
    seen: list[str] = []

    async def act(client: Client) -> None:
        doc = await client.get(MAPS, "a", "default")
        doc["data"]["x"] += "+"
        seen.append((await client.update(MAPS, doc, "default"))["data"]["x"])
        await client.create(MAPS, a_map("b"), "default")

    recording = await record(act)
    async with replayed(recording) as cluster:
        await act(cluster.client)

    assert seen == ["1+", "1+"]


async def test_kinds_of_its_own_come_along(real: EmbeddedCluster, record: Record) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "caches.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "caches", "singular": "cache", "kind": "Cache"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }  # fmt: skip
    await real.client.create(CRDS, crd)
    await real.client.create(NAMESPACES, {"metadata": {"name": "shop"}})
    cache = {"apiVersion": "example.dev/v1", "kind": "Cache", "metadata": {"name": "c"}, "size": 3}
    made = await real.client.create(CACHES, cache, "shop")

    async def act(client: Client) -> None:
        await client.get(CACHES, "c", "shop")

    recording = await record(act)
    assert [e.path for e in recording.entries if e.companion] == [
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/caches.example.dev"
    ]

    async with replayed(recording) as cluster:
        found = await cluster.client.get(CACHES, "c", "shop")
        await cluster.client.create(CACHES, {**cache, "metadata": {"name": "d"}}, "shop")
    assert (found["size"], found["metadata"]["uid"]) == (3, made["metadata"]["uid"])

    recording.entries = [e for e in recording.entries if not e.companion]
    with pytest.raises(LookupError, match=r"caches\.example\.dev shop/c: .*was not recorded"):
        async with replayed(recording):
            pass


async def test_controllers_may_go_on_from_there(real: EmbeddedCluster, record: Record) -> None:
    doc = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    }
    await real.client.create(DEPLOYMENTS, doc, "default")
    await real.settle()

    async def act(client: Client) -> None:
        for gvr in (DEPLOYMENTS, GVR("apps", "v1", "replicasets"), PODS, GVR("", "v1", "nodes")):
            await client.list(gvr)

    recording = await record(act)
    async with replayed(recording, controllers=True) as cluster:
        await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
        await cluster.settle()
        pods = (await cluster.client.list(PODS, "default")).items
    then = (await real.client.list(PODS, "default")).items
    assert len(pods) == 3
    # The one that was there is still the same.
    assert then[0]["metadata"]["uid"] in [pod["metadata"]["uid"] for pod in pods]


async def test_what_was_not_kept_is_told() -> None:
    long = Entry(1, 0.0, "GET", "/api/v1/configmaps", status=200, size=9 << 20, cut=True)
    short = Entry(2, 0.1, "GET", "/api/v1/namespaces/default/configmaps/a", status=200)
    short.answer = {"kind": "ConfigMap", "apiVersion": "v1", **a_map("a")}
    short.answer["metadata"]["namespace"] = "default"
    recording = Recording([long, short], dropped=3)

    with pytest.raises(LookupError) as missing:
        async with replayed(recording):
            pass
    assert str(missing.value) == (
        "a recording cannot be replayed whole: GET /api/v1/configmaps: its answer of 9437184 bytes "
        "was too long to be kept; 3 answers: they did not fit into the recording"
    )
    async with replayed(recording, partly=True) as cluster:
        assert await cluster.client.get(MAPS, "a", "default")
    with pytest.raises(NoRecordingError, match="9437184 bytes, or what was sent, was too long"):
        await strict_client(recording).list(MAPS)


def a_watch(query: str, *events: tuple[str, str]) -> Entry:
    told = [
        {"type": type, "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": n}}}
        for type, n in events
    ]
    path = "/api/v1/configmaps"
    return Entry(1, 0.0, "GET", path, f"watch=true{query}", status=200, events=told)


def test_watches_tell_of_objects() -> None:
    from_the_start = a_watch("", ("ADDED", "a"), ("MODIFIED", "b"), ("BOOKMARK", "c"))
    from_then_on = a_watch("&resourceVersion=7", ("ADDED", "a"), ("DELETED", "b"), ("ADDED", "b"))

    first = initial(Recording([from_the_start]))
    later = initial(Recording([from_then_on]))

    assert [item.object["metadata"]["name"] for item in first] == ["a", "b"]
    # What was added after a list was not there when that began.
    assert [item.object["metadata"]["name"] for item in later] == ["b"]


# -- as answers


async def a_life(client: Client) -> list[Any]:
    """What a program does; what it was told."""
    told: list[Any] = [await client.create(MAPS, a_map("a", x="1"), "default")]
    told.append(await client.get(MAPS, "a", "default"))
    told.append(await client.patch(MAPS, "a", {"data": {"x": "2"}}, "default"))
    told.append(await client.get(MAPS, "a", "default"))
    told.append((await client.list(MAPS, "default", label_selector="a,b")).items)
    secret = {"metadata": {"name": "s"}, "stringData": {"k": "hush"}}
    told.append((await client.create(SECRETS, secret, "default"))["metadata"])
    await client.delete(MAPS, "a", "default")
    try:
        await client.get(MAPS, "a", "default")
    except StatusError as e:
        told.append((e.code, e.message))
    async with client.watch(MAPS, "default") as events:
        async for event in events:
            told.append(event)
            break
    return told


async def test_a_recorded_run_is_answered_as_it_was(record: Record) -> None:
    then: list[Any] = []

    async def act(client: Client) -> None:
        then.extend(await a_life(client))

    recording = await record(act)
    transport = StrictTransport(recording)

    assert await a_life(Client(transport)) == then
    assert transport.unused == []


async def test_secrets_are_answered_with_as_many_asterisks(record: Record) -> None:
    async def act(client: Client) -> None:
        secret = {"metadata": {"name": "s"}, "stringData": {"k": "hush"}}
        await client.create(SECRETS, secret, "default")
        await client.get(SECRETS, "s", "default")

    client = strict_client(await record(act))
    made = await client.create(
        SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "none"}}, "default"
    )
    read = await client.get(SECRETS, "s", "default")

    # What is sent is compared without secrets, too: any of four bytes would have done.
    stars = base64.b64encode(b"****").decode()
    assert made["data"] == read["data"] == {"k": stars}


async def test_what_was_not_recorded_is_refused(record: Record) -> None:
    async def act(client: Client) -> None:
        await client.create(MAPS, a_map("a", x="1"), "default")
        await client.get(MAPS, "a", "default")

    recording = await record(act)
    transport = StrictTransport(recording)
    client = Client(transport)
    origin = recording.origin
    path = "/api/v1/namespaces/default/configmaps"

    with pytest.raises(NoRecordingError) as other:
        await client.get(MAPS, "b", "default")
    with pytest.raises(NoRecordingError) as body:
        await client.create(MAPS, a_map("a", x="2"), "default")
    await client.get(MAPS, "a", "default")
    with pytest.raises(NoRecordingError) as more:
        await client.get(MAPS, "a", "default")
    with pytest.raises(NoRecordingError) as strange:
        await client.raw("OPTIONS", "/zzz")

    assert str(other.value) == (
        f"GET {path}/b was not recorded in {origin}; nearest is GET {path}/a (1 of 1 left)"
    )
    assert str(body.value) == (
        f'POST {path} was recorded with another body in {origin}: data.x was "1", is "2"'
    )
    assert str(more.value) == (
        f"GET {path}/a was recorded once in {origin}, and all of it was asked for already"
    )
    assert "nor was anything like it" in str(strange.value)
    assert [e.method for e in transport.unused] == ["POST"]


async def test_watches_end_as_they_did() -> None:
    ended = a_watch("&timeoutSeconds=5", ("ADDED", "a"))
    left = a_watch("", ("ADDED", "a"))
    left.left, left.path = True, "/api/v1/namespaces/default/configmaps"
    client = strict_client(Recording([ended, left]))

    async with client.watch(MAPS, bookmarks=False, timeout_seconds=7) as events:
        names = [event.object["metadata"]["name"] async for event in events]
    assert names == ["a"]

    async with client.watch(MAPS, "default", bookmarks=False) as events:
        await anext(aiter(events))
        waiting = asyncio.create_task(anext(aiter(events)))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_server_that_was_not_there_is_not_there_again() -> None:
    entry = Entry(1, 0.0, "GET", "/api/v1/configmaps", error="connection refused")
    with pytest.raises(UnreachableError, match="connection refused"):
        await strict_client(Recording([entry])).list(MAPS)
