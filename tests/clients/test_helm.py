"""The real Helm (its SDK, in a wheel): the life of releases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from manifests import DEPLOYMENT

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

pytestmark = pytest.mark.requires("helm")

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
JOBS = GVR("batch", "v1", "jobs")
PODS = GVR("", "v1", "pods")
SECRETS = GVR("", "v1", "secrets")

CHART = "apiVersion: v2\nname: shop\nversion: 0.1.0\n"
# Helm's hooks are objects of their own, made and awaited before and after the release's.
HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-%(when)s
  annotations: {helm.sh/hook: %(when)s%(policy)s}
spec:
  template:
    metadata: {annotations: {cove.dev/simulate: exit=0}}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: busybox}]
"""


class Helm:
    """Calls Helm's blocking SDK in a thread."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, action: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return asyncio.to_thread(getattr(self._config, action), *arguments, **options)

        return call


@pytest.fixture
async def helm(cluster: EmbeddedCluster) -> AsyncIterator[Helm]:
    import helm_python

    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="default") as config:
        yield Helm(config)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A Deployment of a size and an image, and a ConfigMap with notes."""
    folder = tmp_path / "shop"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "values.yaml").write_text("replicas: 1\nimage: nginx:1.27\n")
    (folder / "templates" / "deployment.yaml").write_text(
        DEPLOYMENT.replace("replicas: 2", "replicas: {{ .Values.replicas }}")
        .replace('"nginx:1.27"', "{{ .Values.image | quote }}")
        .replace("name: web,", "name: {{ .Release.Name }}-web,")
    )
    (folder / "templates" / "NOTES.txt").write_text("{{ .Release.Name }} is served.")
    return folder


async def deployment(cluster: EmbeddedCluster, name: str = "one-web") -> dict[str, Any]:
    return await cluster.client.get(DEPLOYMENTS, name, "default")


async def test_the_life_of_a_release(cluster: EmbeddedCluster, helm: Helm, chart: Path) -> None:
    def image(obj: dict[str, Any]) -> str:
        return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])

    installed = await helm.install(chart, "one", {"replicas": 2}, wait="watcher", timeout=30)
    ready = await deployment(cluster)
    upgraded = await helm.upgrade(
        chart, "one", {"image": "nginx:1.28"}, reuse_values=True, wait="watcher", timeout=30
    )
    newer = await deployment(cluster)
    await helm.rollback("one", version=1, wait="watcher", timeout=30)
    back = await deployment(cluster)
    history = await helm.history("one")
    (listed,) = await helm.list()
    removed = await helm.uninstall("one", wait="watcher", timeout=30)

    assert (installed["status"], installed["revision"]) == ("deployed", 1)
    assert installed["notes"] == "one is served."
    assert ready["status"]["readyReplicas"] == 2
    assert ready["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert upgraded["revision"] == 2
    assert (image(newer), newer["spec"]["replicas"]) == ("nginx:1.28", 2)
    assert newer["status"]["updatedReplicas"] == 2
    assert image(back) == "nginx:1.27"
    assert [(r["revision"], r["status"]) for r in history] == [
        (1, "superseded"),
        (2, "superseded"),
        (3, "deployed"),
    ]
    assert (listed["name"], listed["revision"]) == ("one", 3)
    assert removed["release"]["name"] == "one"
    with pytest.raises(StatusError):
        await deployment(cluster)
    kept = await cluster.client.list(SECRETS, "default", label_selector="owner=helm")
    assert kept.items == []
    assert await helm.list(all_states=True) == []


async def test_a_release_in_a_namespace_of_its_own(
    cluster: EmbeddedCluster, helm: Helm, chart: Path
) -> None:
    await helm.install(chart, "one", namespace="shop", create_namespace=True)
    with pytest.raises(StatusError):
        await deployment(cluster)

    found = await cluster.client.get(DEPLOYMENTS, "one-web", "shop")

    assert found["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == "shop"


async def test_hooks_run_and_are_waited_for(
    cluster: EmbeddedCluster, helm: Helm, chart: Path
) -> None:
    gone = ", helm.sh/hook-delete-policy: hook-succeeded"
    for when, policy in (("pre-install", ""), ("post-install", gone)):
        text = HOOK % {"when": when, "policy": policy}
        (chart / "templates" / f"{when}.yaml").write_text(text)

    await helm.install(chart, "one", wait="watcher", timeout=30)

    jobs = (await cluster.client.list(JOBS, "default")).items
    web = await deployment(cluster)
    assert [j["metadata"]["name"] for j in jobs] == ["one-pre-install"]
    assert jobs[0]["status"]["succeeded"] == 1
    assert jobs[0]["status"]["completionTime"] <= web["metadata"]["creationTimestamp"]


TEST_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-smoke
  annotations:
    helm.sh/hook: test
    cove.dev/simulate: exit={{ .Values.code | default 0 }}
spec:
  restartPolicy: Never
  containers: [{name: main, image: busybox}]
"""


async def test_the_tests_of_a_release(cluster: EmbeddedCluster, helm: Helm, chart: Path) -> None:
    """Run when asked, with their logs; one that fails is told."""
    import helm_python

    (chart / "templates" / "smoke.yaml").write_text(TEST_POD)
    await helm.install(chart, "one", wait="watcher", timeout=30)
    before = (await cluster.client.list(PODS, "default")).items
    passed = await helm.test("one", logs=True, timeout=30)
    await helm.upgrade(chart, "one", {"code": 3}, wait="watcher", timeout=30)

    with pytest.raises(helm_python.HelmError):
        await helm.test("one", timeout=30)

    assert "one-smoke" not in [p["metadata"]["name"] for p in before]
    assert passed["release"]["status"] == "deployed"
    assert "is simulated" in passed["logs"]


@pytest.mark.parametrize("back", [False, True], ids=["kept", "rolled-back"])
async def test_a_release_that_fails(
    cluster: EmbeddedCluster, helm: Helm, chart: Path, back: bool
) -> None:
    import helm_python

    await helm.install(chart, "one")
    (chart / "templates" / "bad.yaml").write_text(
        # Helm makes Ingresses after Deployments: what comes before it stays changed.
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: Bad_Name}\n"
        "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n"
    )

    with pytest.raises(helm_python.HelmError, match="Bad_Name"):
        await helm.upgrade(
            chart, "one", {"replicas": 2}, rollback_on_failure=back, wait="watcher", timeout=30
        )

    statuses = [r["status"] for r in await helm.history("one")]
    assert statuses == (["superseded", "failed", "deployed"] if back else ["deployed", "failed"])
    assert (await deployment(cluster))["spec"]["replicas"] == (1 if back else 2)


async def test_what_belongs_to_nobody_is_not_taken_over(
    cluster: EmbeddedCluster, helm: Helm, chart: Path
) -> None:
    import helm_python

    await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "mine", "namespace": "default"}})
    (chart / "templates" / "mine.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n"
    )

    with pytest.raises(helm_python.HelmError, match="cannot be imported into the current release"):
        await helm.install(chart, "one")


async def test_a_chart_brings_its_custom_resources(
    cluster: EmbeddedCluster, helm: Helm, chart: Path
) -> None:
    (chart / "crds").mkdir()
    (chart / "crds" / "parrots.yaml").write_text(
        """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: parrots.birds.test}
spec:
  group: birds.test
  scope: Namespaced
  names: {plural: parrots, kind: Parrot}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
    )
    (chart / "templates" / "polly.yaml").write_text(
        "apiVersion: birds.test/v1\nkind: Parrot\nmetadata: {name: polly}\n"
    )

    await helm.install(chart, "one", wait="watcher", timeout=30)

    parrots = await cluster.client.list(GVR("birds.test", "v1", "parrots"), "default")
    assert [p["metadata"]["name"] for p in parrots.items] == ["polly"]


async def test_a_dry_run_leaves_nothing(cluster: EmbeddedCluster, helm: Helm, chart: Path) -> None:
    told = await helm.install(chart, "one", dry_run="server")

    assert "name: one-web" in told["manifest"]
    assert await helm.list(all_states=True) == []
    with pytest.raises(StatusError):
        await deployment(cluster)
