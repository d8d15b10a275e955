"""What others ask an embedded server, on the test's timeline."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config as official_config
from tests.conftest import Kubectl

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator import Ctx, ObjectMeta, Operator
from cove.operator.kinds import ConfigMap
from cove.testing import operating
from cove.testing.recording import RecordingTransport, ServerTap, agent_of, slot
from cove.testing.timeline import Call, Timeline

pytestmark = pytest.mark.embedded("the tap is in the server's process")

MAPS = GVR("", "v1", "configmaps")
Doc = dict[str, Any]


def a_map(name: str, **data: str) -> Doc:
    return {"metadata": {"name": name}, "data": data}


def told(timeline: Timeline, resource: str = "configmaps") -> list[tuple[str, str, str]]:
    return [(c.agent, c.verb, c.name) for c in timeline.calls if c.resource == resource]


@pytest.fixture
def timeline() -> Timeline:
    return Timeline("a test")


@pytest.mark.requires("kubectl")
async def test_kubectl_is_on_the_timeline(
    cluster: EmbeddedCluster, kubectl: Kubectl, timeline: Timeline
) -> None:
    with ServerTap(cluster.api, timeline):
        await kubectl("create", "configmap", "a", "--from-literal=x=1")
        await kubectl("get", "configmap", "a")
        await kubectl("delete", "configmap", "a")

    assert told(timeline)[:3] == [
        ("kubectl", "create", ""),
        ("kubectl", "get", "a"),
        ("kubectl", "delete", "a"),
    ]
    created, got, deleted = [c for c in timeline.calls if c.resource == "configmaps"][:3]
    assert created.response["data"] == {"x": "1"}
    assert created.request["metadata"]["name"] == "a"
    assert got.response["kind"] == "Table"
    assert deleted.before is not None
    assert deleted.before["data"] == {"x": "1"}
    # Discovery is not on it, nor what the cluster itself does.
    assert not [c for c in timeline.calls if c.path in ("/api", "/apis")]
    assert {c.agent for c in timeline.calls} == {"kubectl"}


@pytest.mark.requires("kubectl")
async def test_a_fork_has_a_timeline_of_its_own(
    cluster: EmbeddedCluster, timeline: Timeline
) -> None:
    async with cluster.fork() as fork, cluster.fork() as other:
        with ServerTap(fork.api, timeline):
            await Kubectl(fork.kubeconfig_path)("create", "configmap", "here")
            await Kubectl(other.kubeconfig_path)("create", "configmap", "there")

    (call,) = [c for c in timeline.calls if c.resource == "configmaps"]
    assert call.request["metadata"]["name"] == "here"
    assert call.path == "/api/v1/namespaces/default/configmaps"


@pytest.mark.requires("helm")
async def test_helm_is_on_the_timeline(
    cluster: EmbeddedCluster, timeline: Timeline, tmp_path: Path
) -> None:
    import helm_python

    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 1.0.0\n")
    (chart / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-helm}\ndata: {a: b}\n"
    )
    path = cluster.kubeconfig_path

    def install() -> None:
        with helm_python.Config(kubeconfig_path=path, namespace="default") as config:
            config.install(str(chart), "r", {})

    with ServerTap(cluster.api, timeline):
        await asyncio.to_thread(install)

    written = [c for c in timeline.calls if c.resource == "configmaps" and c.status < 300]
    assert [c.response["metadata"]["name"] for c in written] == ["of-helm"]
    assert {c.agent for c in timeline.calls} == {"Helm"}
    secret = next(c for c in timeline.calls if c.resource == "secrets" and c.verb == "create")
    assert secret.request["data"]["release"].startswith("<redacted: ")


async def test_the_official_client_is_on_the_timeline(
    api: EmbeddedCluster, timeline: Timeline
) -> None:
    def work() -> None:
        configuration = official.Configuration()
        official_config.load_kube_config(
            str(api.kubeconfig_path), client_configuration=configuration
        )
        with official.ApiClient(configuration) as connection:
            core = official.CoreV1Api(connection)
            core.create_namespaced_config_map("default", a_map("a", x="1"))
            core.list_namespaced_config_map("default")

    with ServerTap(api.api, timeline):
        await asyncio.to_thread(work)

    assert told(timeline) == [("python", "create", ""), ("python", "list", "")]


async def test_an_operator_is_on_the_timeline(cluster: EmbeddedCluster, timeline: Timeline) -> None:
    op = Operator("namer")

    @op.controller(ConfigMap)
    class Namer:
        async def reconcile(self, obj: ConfigMap, ctx: Ctx) -> None:
            if obj.metadata.name == "a" and not obj.data:
                await ctx.client.patch(MAPS, "a", {"data": {"seen": "yes"}}, "default")

    async with operating(op, cluster) as world:
        with ServerTap(world.cluster.api, timeline):
            await world.create(ConfigMap(metadata=ObjectMeta(name="a")))
            await world.eventually(lambda: world.get(ConfigMap, "a").data.get("seen") == "yes")

    written = [c for c in timeline.calls if c.verb == "patch" and c.resource == "configmaps"]
    assert [c.agent for c in written] == ["namer"]
    assert written[0].before is not None
    assert "data" not in written[0].before
    assert written[0].response["data"] == {"seen": "yes"}


@pytest.mark.parametrize("where", ["in process", "over HTTPS"])
async def test_calls_of_the_test_are_told_once(
    api: EmbeddedCluster, timeline: Timeline, where: str
) -> None:
    async with Client.connect(kubeconfig.load(str(api.kubeconfig_path))) as real:
        below = api.client if where == "in process" else real
        with ServerTap(api.api, timeline) as tap:
            client = RecordingTransport(below.transport, timeline, tap=tap).client(below)
            await client.create(MAPS, a_map("a", x="1"), "default")
            await client.patch(MAPS, "a", {"data": {"x": "2"}}, "default")
            async with client.watch(MAPS, "default") as events:
                async for _ in events:
                    break
            # Another client of the same process is somebody else.
            await api.client.get(MAPS, "a", "default")
        await client.get(MAPS, "a", "default")

    assert told(timeline) == [
        ("test", "create", ""),
        ("test", "patch", "a"),
        ("test", "watch", ""),
        ("cove", "get", "a"),
        ("test", "get", "a"),
    ]
    created, patched = timeline.calls[:2]
    assert created.before is None
    assert patched.before is not None
    assert (patched.before["kind"], patched.before["data"]) == ("ConfigMap", {"x": "1"})
    assert patched.response["data"] == {"x": "2"}


async def test_a_timeline_of_another_tap_is_told(api: EmbeddedCluster, timeline: Timeline) -> None:
    """The header of somebody else's tap says nothing here."""
    other = Timeline("another")
    with ServerTap(api.api, timeline), ServerTap(api.api, other) as tap:
        client = RecordingTransport(api.client.transport, other, tap=tap).client(api.client)
        await client.list(MAPS, "default")

    assert told(timeline) == [("cove", "list", "")]
    assert told(other) == [("test", "list", "")]


async def test_what_a_write_replaces_is_kept(api: EmbeddedCluster, timeline: Timeline) -> None:
    client = api.client
    await client.create(MAPS, a_map("a", x="1"), "default")
    await client.create(GVR("", "v1", "namespaces"), {"metadata": {"name": "n"}})
    with ServerTap(api.api, timeline):
        current = await client.get(MAPS, "a", "default")
        await client.update(MAPS, {**current, "data": {"x": "2"}}, "default")
        await client.delete(MAPS, "a", "default")
        with pytest.raises(StatusError):
            await client.delete(MAPS, "a", "default")
        await client.patch(GVR("", "v1", "namespaces"), "n", {"metadata": {"labels": {"a": "b"}}})

    read, updated, deleted, again, labelled = timeline.calls
    assert read.before is None
    assert updated.before == current
    assert deleted.before is not None
    assert deleted.before["data"] == {"x": "2"}
    assert (again.before, again.status) == (None, 404)
    assert labelled.before is not None
    assert labelled.before["metadata"]["name"] == "n"


async def test_the_clusters_own_calls_appear_when_asked_for(
    cluster: EmbeddedCluster, timeline: Timeline
) -> None:
    quiet = Timeline("without")
    with ServerTap(cluster.api, timeline, system=True), ServerTap(cluster.api, quiet):
        doc = {"metadata": {"name": "n"}}
        await cluster.client.create(GVR("", "v1", "namespaces"), doc)
        await cluster.settle()

    assert {c.agent for c in quiet.calls} == {"cove"}
    accounts = [c for c in timeline.calls if c.resource == "serviceaccounts" and c.verb == "create"]
    assert [c.namespace for c in accounts] == ["n"]
    assert "cove" not in {c.agent for c in accounts}


async def test_who_may_not_come_in_is_told(api: EmbeddedCluster, timeline: Timeline) -> None:
    connection = kubeconfig.load(str(api.kubeconfig_path))
    connection.client_certificate = connection.client_key = b""
    connection.token = "nobody's"
    with ServerTap(api.api, timeline):
        async with Client.connect(connection, user_agent="stranger/1") as client:
            with pytest.raises(StatusError):
                await client.get(MAPS, "a", "default")

    (call,) = timeline.calls
    assert (call.agent, call.verb, call.name) == ("stranger", "get", "a")
    assert (call.status, call.error) == (401, "Unauthorized")


async def test_a_watch_of_somebody_else_ends_without_error(
    api: EmbeddedCluster, timeline: Timeline
) -> None:
    with ServerTap(api.api, timeline):
        async with Client.connect(kubeconfig.load(str(api.kubeconfig_path))) as client:
            await client.create(MAPS, a_map("a"), "default")
            async with client.watch(MAPS, "default") as events:
                async for event in events:
                    if event.object["metadata"]["name"] == "a":
                        break
            call: Call = timeline.calls[-1]
            while call.took is None:
                await asyncio.sleep(0.001)

    assert (call.verb, call.status, call.error) == ("watch", 200, "")
    assert "a" in [seen.name for seen in call.seen]


async def test_faults_are_told_as_they_struck(api: EmbeddedCluster, timeline: Timeline) -> None:
    with ServerTap(api.api, timeline):
        with api.faults.error(429, retry_after=1), pytest.raises(StatusError):
            await api.client.get(MAPS, "a", "default")
        with api.faults.reset(), pytest.raises(Exception, match="a fault cut the connection"):
            await api.client.get(MAPS, "a", "default")

    refused, cut = timeline.calls
    assert refused.status == 429
    assert cut.status == 0
    assert cut.error


async def test_nothing_is_left_of_a_tap(api: EmbeddedCluster, timeline: Timeline) -> None:
    with ServerTap(api.api, timeline):
        assert len(api.api.observers) == 1
        assert api.api.fork().observers == ()
        with slot() as s:
            await api.client.list(MAPS)
    await api.client.list(MAPS)

    assert api.api.observers == ()
    assert len(timeline.calls) == 1
    # In this process what the server sees is made by who asks.
    assert s.calls == timeline.calls


@pytest.mark.parametrize(
    ("user_agent", "agent"),
    [
        ("kubectl/v1.36.0 (linux/amd64) kubernetes/abc", "kubectl"),
        ("Helm/4.0.1", "Helm"),
        ("OpenAPI-Generator/35.0.0/python", "python"),
        ("my-operator", "my-operator"),
        ("Mozilla (x)", "Mozilla"),
        ("", "unknown"),
    ],
)
def test_agents(user_agent: str, agent: str) -> None:
    assert agent_of(user_agent) == agent
