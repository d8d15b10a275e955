"""Whole applications on the embedded engine, pods simulated: clusters and what is in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from app_world import chart, deployment, service
from tests.elsewhere import ELSEWHERE

from cove import App
from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.engines.home import ClusterFolder
from cove.engines.process import stop as stop_cluster
from cove.host import BlockedError, Host, State
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")
FOREVER = ["sleep", "1000"]


def said(host: Host, name: str) -> str:
    return "\n".join(line.text for line in host.logs.recent([name]))


async def heard(host: Host, name: str, text: str) -> None:
    """Return when a resource says a line with ``text``."""
    async with host.logs.follow([name]) as lines:
        async for line in lines:
            if text in line.text:
                return


async def text_of(client: Client, name: str, namespace: str = "default") -> str:
    return str((await client.get(CONFIG_MAPS, name, namespace))["data"]["text"])


@pytest.mark.requires("helm")
async def test_an_application_of_every_kind(app: App) -> None:
    (app.root / "web.yaml").write_text(deployment() + "---" + service())
    k8s = app.cluster("k8s", agents=1)
    web = k8s.manifests("web", "web.yaml", wait=True)
    cache = k8s.helm(
        "cache", chart=chart(app.root / "chart"), namespace="data", set={"text": "a,b"}
    )
    url = k8s.endpoint("url", service="web", port=80).after(web)
    api = app.process("api", ["sh", "-c", "echo $services__url__url $KUBECONFIG; sleep 1000"])
    api.reference(k8s, url).wait_for(url).after(cache)
    async with app.run() as host:
        await host.ready()
        assert await text_of(host.client("k8s"), "cache", "data") == "a,b"
        assert host.url("url").startswith("http://localhost:")
        assert host.url("k8s") == host.cluster("k8s").url
        kubeconfig = host.cluster("k8s").kubeconfig_path
        await heard(host, "api", f"{host.url('url')} {kubeconfig}")
        assert {s.name: str(s.state) for s in host.status()} == {
            "k8s": "Running",
            "web": "Finished",
            "cache": "Finished",
            "url": "Running",
            "api": "Running",
        }
    assert not ClusterFolder("shop-k8s").exists, "a cluster of a session is gone with it"


@pytest.mark.requires("helm")
async def test_properties_are_what_a_person_wants_to_know(app: App) -> None:
    (app.root / "web.yaml").write_text(service())
    k8s = app.cluster("k8s")
    release = k8s.helm("cache", chart=chart(app.root / "chart"), namespace="data", release="store")
    k8s.manifests("web", "web.yaml")
    k8s.endpoint("url", service="web", port="main")
    assert release.properties == {
        "release": "store",
        "chart": "chart",
        "namespace": "data",
        "version": "latest",
    }
    async with app.run() as host:
        await host.wait("cache", "completed")
        await host.wait("web", "completed")
        assert host.board["cache"].properties["version"] == "1.2.3"
        assert host.board["web"].properties["mode"] == "file"
        assert host.board["web"].properties["path"] == str(app.root / "web.yaml")
        await host.board.until(lambda: bool(host.board["url"].reason))
        status = host.board["url"]
        assert status.url == "", "no pod is ready: it leads nowhere"
        assert dict(status.properties) == {"service": "web", "port": "main", "namespace": "default"}


async def test_an_endpoint_is_ready_only_when_a_pod_is(app: App) -> None:
    (app.root / "service.yaml").write_text(service())
    (app.root / "pods.yaml").write_text(deployment())
    k8s = app.cluster("k8s")
    k8s.manifests("service", "service.yaml")
    k8s.manifests("pods", "pods.yaml", explicit_start=True)
    k8s.endpoint("url", service="web", port=80)
    app.process("api", FOREVER).wait_for("url")
    async with app.run() as host:
        await host.wait("service", "completed")
        await host.board.until(lambda: "no pod" in host.board["url"].reason)
        assert host.board["api"].state is State.WAITING
        await host.start("pods")
        await host.wait("api")
        await host.client("k8s").patch(
            GVR("apps", "v1", "deployments"),
            "web",
            {"spec": {"replicas": 0}},
            "default",
            type="merge",
        )
        await host.board.until(lambda: host.board["url"].state is State.UNHEALTHY)


async def test_an_endpoint_without_a_selector_is_a_terminal_error_with_the_chain(app: App) -> None:
    (app.root / "service.yaml").write_text(
        service().replace("selector: {app: web}", "selector: {}")
    )
    k8s = app.cluster("k8s")
    k8s.manifests("service", "service.yaml")
    k8s.endpoint("url", service="web", port=80).after("service")
    app.process("api", FOREVER).wait_for("url")
    async with app.run() as host:
        with pytest.raises(BlockedError) as raised:
            await host.wait("api")
        assert "api is FailedToStart ← url is FailedToStart: " in str(raised.value)
        assert "selector" in str(raised.value)


async def test_a_manifest_that_is_wrong_names_file_document_field_and_what_was_applied(
    app: App,
) -> None:
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%d}\n"
    bad = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n"
    documents = [good % 1, good % 2, bad, good % 4, good % 5]
    (app.root / "all.yaml").write_text("---\n".join(documents))
    app.cluster("k8s").manifests("all", "all.yaml")
    async with app.run() as host:
        with pytest.raises(BlockedError) as raised:
            await host.wait("all", "completed")
    text = str(raised.value)
    assert "all.yaml, document 3 of 5" in text
    assert "spec.ports[0].port" in text
    assert "configmap/m1" in text
    assert "configmap/m2" in text


async def test_files_may_appear_after_the_declaration(app: App) -> None:
    k8s = app.cluster("k8s")
    app.process(
        "write",
        [
            "sh",
            "-c",
            "printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: late}\\ndata: {text: x}\\n' > late.yaml",
        ],
    )
    k8s.manifests("late", "late.yaml").after("write")
    async with app.run() as host:
        await host.wait("late", "completed")
        assert await text_of(host.client("k8s"), "late") == "x"


async def test_manifests_that_are_watched_are_applied_again(app: App) -> None:
    def write(text: str) -> None:
        (app.root / "m.yaml").write_text(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{text: {text}}}\n"
        )

    write("one")
    app.cluster("k8s").manifests("m", "m.yaml", watch=True)
    app.process("after", ["true"]).after("m")
    async with app.run() as host:
        await host.wait("after", "completed")
        client = host.client("k8s")
        assert await text_of(client, "m") == "one"
        async with client.watch(CONFIG_MAPS, "default", field_selector="metadata.name=m") as events:
            await anext(events)
            write("two")
            assert (await anext(events)).object["data"]["text"] == "two"
        write("[broken")
        await host.board.until(lambda: host.board["m"].state is State.UNHEALTHY)
        write("three")
        await host.board.until(lambda: host.board["m"].state is State.FINISHED)
        assert await text_of(client, "m") == "three"


@pytest.mark.requires("helm")
async def test_a_chart_that_is_not_there_stops_who_comes_after_it(app: App) -> None:
    k8s = app.cluster("k8s")
    k8s.helm("cache", chart="no/such/chart")
    k8s.helm("other", chart=chart(app.root / "chart"), values_files=["dev.yaml"])
    app.process("api", FOREVER).after("cache")
    async with app.run() as host:
        with pytest.raises(
            BlockedError, match=r"cache is FailedToStart.*no/such/chart is not there"
        ):
            await host.wait("api")
        with pytest.raises(BlockedError, match=r"dev\.yaml"):
            await host.wait("other", "completed")


@pytest.mark.requires("helm")
async def test_leaving_while_a_release_waits_ends_it(app: App) -> None:
    never = """
apiVersion: v1
kind: Pod
metadata: {name: never}
spec: {nodeSelector: {no: node}, containers: [{name: c, image: i}]}
"""
    app.cluster("k8s").helm("stuck", chart=chart(app.root / "chart", template=never))
    before = asyncio.all_tasks()
    async with app.run() as host:
        await heard(host, "stuck", "never")
        assert host.board["stuck"].state is State.STARTING, said(host, "stuck")
    assert asyncio.all_tasks() == before


async def test_a_data_volume_keeps_objects_for_the_next_session(app: App) -> None:
    k8s = app.cluster("k8s", data_volume=True)
    (app.root / "m.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {text: kept}\n"
    )
    k8s.manifests("m", "m.yaml", explicit_start=True)
    async with app.run() as host:
        await host.wait("k8s")
        await host.start("m")
        await host.wait("m", "completed")
    async with app.run() as host:
        await host.wait("k8s")
        assert await text_of(host.client("k8s"), "m") == "kept"
        assert os.environ["COVE_HOME"] in str(host.cluster("k8s").kubeconfig_path)


async def test_restarting_a_cluster_deploys_what_was_in_it_again(app: App) -> None:
    (app.root / "m.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {text: x}\n"
    )
    k8s = app.cluster("k8s")
    k8s.manifests("m", "m.yaml")
    async with app.run() as host:
        await host.ready()
        first = (await host.client("k8s").get(CONFIG_MAPS, "m", "default"))["metadata"]["uid"]
        await host.restart("k8s")
        await host.ready()
        again = await host.client("k8s").get(CONFIG_MAPS, "m", "default")
        # A cluster that exists is not made anew: what is there stays.
        assert (again["metadata"]["uid"] == first) is ELSEWHERE


@pytest.mark.embedded("a cluster that exists is taken whatever its version is, which is told")
async def test_an_option_that_the_engine_cannot_keep_is_told(app: App) -> None:
    app.cluster("k8s", version="v1.20.0")
    app.process("api", FOREVER).wait_for("k8s")
    async with app.run() as host:
        with pytest.raises(BlockedError, match=r"k8s is FailedToStart.*v1\.20\.0"):
            await host.wait("api")


@pytest.mark.parametrize("moment", [0, 0.05, 0.15, 0.3, 0.6])
async def test_leaving_at_any_moment_leaves_no_cluster(
    app: App, moment: float, cove_home: Path, recwarn: Callable[[], object]
) -> None:
    (app.root / "web.yaml").write_text(deployment() + "---" + service())
    k8s = app.cluster("k8s")
    k8s.manifests("web", "web.yaml")
    k8s.endpoint("url", service="web", port=80)
    app.process("api", FOREVER).wait_for("url")
    before = asyncio.all_tasks()
    async with app.run():
        await asyncio.sleep(moment)
    assert asyncio.all_tasks() == before
    assert not ClusterFolder("shop-k8s").exists


@pytest.mark.requires("helm")
async def test_the_same_application_on_a_cluster_that_exists(
    app: App, cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig_path))
    (app.root / "web.yaml").write_text(deployment() + "---" + service())
    k8s = app.cluster("k8s")
    web = k8s.manifests("web", "web.yaml", wait=True)
    k8s.helm("cache", chart=chart(app.root / "chart")).after(web)
    k8s.endpoint("url", service="web", port=80)
    app.process("api", ["sh", "-c", "echo $KUBECONFIG; sleep 1000"]).reference(k8s)
    async with app.run(engine="existing", context=cluster.name) as host:
        await host.ready()
        assert host.url("k8s") == cluster.url
        assert await text_of(cluster.client, "cache") == "default"
        await heard(host, "api", str(host.cluster("k8s").kubeconfig_path))
        assert host.cluster("k8s").kubeconfig_path != cluster.kubeconfig_path
    assert await text_of(cluster.client, "cache") == "default", "it is not ours to clean up"


@pytest.mark.embedded("a cluster that exists is not the application's to keep or discard")
async def test_a_persistent_cluster_stays_until_it_is_discarded(app: App) -> None:
    app.cluster("k8s", lifetime="persistent")
    folder = ClusterFolder("shop-k8s")
    async with app.run() as host:
        await host.wait("k8s")
        first = folder.serving()
    try:
        assert folder.serving() == first is not None
        async with app.run() as host:
            await host.wait("k8s")
            assert folder.serving() == first
            assert "is running already" in said(host, "k8s")
            host.discard()
        assert folder.serving() is None
        assert not Path(f"/proc/{first}").exists(), "not even a zombie stays"
    finally:
        stop_cluster("shop-k8s")
