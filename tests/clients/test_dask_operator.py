"""Somebody else's operator, whole: its chart with large definitions, its objects, its program.

dask-kubernetes is pinned as a dependency of the tests; nothing of it is changed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Kubectl

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR

CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
CLUSTERS = GVR("kubernetes.dask.org", "v1", "daskclusters")
GROUPS = GVR("kubernetes.dask.org", "v1", "daskworkergroups")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
SERVICES = GVR("", "v1", "services")
PODS = GVR("", "v1", "pods")
KINDS = ("daskautoscalers", "daskclusters", "daskjobs", "daskworkergroups")
Doc = dict[str, Any]

pytestmark = pytest.mark.skipif(
    find_spec("dask_kubernetes") is None, reason="dask-kubernetes is missing"
)


@pytest.fixture
def package() -> Path:
    """Where the operator is, without its import."""
    spec = find_spec("dask_kubernetes")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "operator"


@pytest.fixture
def chart(package: Path) -> Path:
    return package / "deployment" / "helm" / "dask-kubernetes-operator"


@pytest.fixture
def sample(package: Path) -> Path:
    """A DaskCluster with two workers."""
    return package / "controller" / "tests" / "resources" / "simplecluster.yaml"


async def until(client: Client, gvr: GVR, wanted: Callable[[list[Doc]], bool]) -> list[Doc]:
    """Watch the default namespace until its objects are as wanted."""
    async with asyncio.timeout(60):
        listed = await client.list(gvr, "default")
        found = {o["metadata"]["name"]: o for o in listed.items}
        async with client.watch(gvr, "default", resource_version=listed.resource_version) as events:
            while not wanted(list(found.values())):
                event = await anext(aiter(events))
                name = event.object["metadata"]["name"]
                if event.type == "DELETED":
                    found.pop(name, None)
                else:
                    found[name] = event.object
    return list(found.values())


def established(crd: Doc) -> bool:
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    return conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.requires("helm", "kubectl")
async def test_its_chart_brings_definitions_that_stay(
    cluster: EmbeddedCluster, kubectl: Kubectl, chart: Path, sample: Path
) -> None:
    import helm_python

    def install(helm: Any) -> None:
        helm.install(chart, "dask", wait="watcher", timeout=60)
        helm.upgrade(chart, "dask", {"replicaCount": 1}, wait="watcher", timeout=60)

    with helm_python.Config(kubeconfig_path=cluster.kubeconfig_path, namespace="default") as helm:
        await asyncio.to_thread(install, helm)
        crds = (await cluster.client.list(CRDS)).items
        explained = await kubectl(
            "explain", "daskclusters.spec.worker.spec.containers.resources", "--recursive"
        )
        await kubectl("apply", "--server-side", "--validate=strict", "-f", str(sample))
        listed = await kubectl("get", "daskclusters", "-o", "wide")
        (release,) = await asyncio.to_thread(helm.list)
        await asyncio.to_thread(helm.uninstall, "dask", wait="watcher", timeout=60)
    kept = [c["metadata"]["name"] for c in (await cluster.client.list(CRDS)).items]

    assert sorted(c["spec"]["names"]["plural"] for c in crds) == list(KINDS)
    assert all(map(established, crds))
    assert "limits\t<map[string]string>" in explained
    assert listed.splitlines()[1].split()[0] == "simple"
    assert (release["status"], release["revision"]) == ("deployed", 2)
    assert len(kept) == 4
    assert (await cluster.client.get(CLUSTERS, "simple", "default"))["spec"]["worker"]


@pytest.mark.requires("kubectl")
async def test_its_definitions_are_replaced_and_applied_again(
    api: EmbeddedCluster, chart: Path
) -> None:
    """As `kubectl create`, `replace` and `apply --server-side` do; the latter changes nothing."""
    kubectl = Kubectl(api.kubeconfig_path)
    folder = str(chart / "crds")

    await kubectl("create", "-f", folder)
    await kubectl("replace", "-f", folder)
    before = {c["metadata"]["name"]: c for c in (await api.client.list(CRDS)).items}
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
    after = {c["metadata"]["name"]: c for c in (await api.client.list(CRDS)).items}

    assert {n: c["metadata"]["generation"] for n, c in before.items()} == {
        n: c["metadata"]["generation"] for n, c in after.items()
    }
    written = {d["metadata"]["name"]: d for d in map(yaml.safe_load, _texts(chart / "crds"))}
    assert after.keys() == written.keys()
    for name, crd in after.items():
        mine, theirs = (
            d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for d in (crd, written[name])
        )
        assert mine == theirs


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.yaml")):
        yield path.read_text()


@asynccontextmanager
async def running(cluster: EmbeddedCluster, log: Path) -> AsyncIterator[None]:
    """The operator's program as its image starts it, outside of the cluster."""
    command = ("-m", "kopf", "run", "-m", "dask_kubernetes.operator.controller", "-n", "default")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--standalone",
            stdout=output,
            stderr=output,
            env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig_path)},
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()


async def test_its_program_makes_scales_and_removes_a_cluster(
    cluster: EmbeddedCluster, chart: Path, sample: Path, tmp_path: Path
) -> None:
    client = cluster.client
    for text in _texts(chart / "crds"):
        await client.create(CRDS, yaml.safe_load(text))
    wanted = yaml.safe_load(sample.read_text())
    for part in ("worker", "scheduler"):
        # Pods that are simulated answer no probes, and need none.
        for container in wanted["spec"][part]["spec"]["containers"]:
            for probe in ("readinessProbe", "livenessProbe"):
                container.pop(probe, None)

    async with running(cluster, tmp_path / "log"):
        await client.create(CLUSTERS, wanted, "default")
        ready = await until(
            client,
            DEPLOYMENTS,
            lambda found: len([d for d in found if d.get("status", {}).get("readyReplicas")]) == 3,
        )
        service = await client.get(SERVICES, "simple-scheduler", "default")
        (made,) = await until(
            client, CLUSTERS, lambda found: found[0].get("status", {}).get("phase") == "Running"
        )
        scale = {"spec": {"worker": {"replicas": 3}}}
        await client.patch(GROUPS, "simple-default", scale, namespace="default")
        await until(client, DEPLOYMENTS, lambda found: len(found) == 4)
        await client.delete(CLUSTERS, "simple", "default")
        await until(client, DEPLOYMENTS, lambda found: not found)
        await until(client, PODS, lambda found: not found)
        await until(client, GROUPS, lambda found: not found)

    names = sorted(d["metadata"]["name"] for d in ready)
    assert names[0] == "simple-default-worker-" + names[0].rsplit("-", 1)[1]
    assert names[2] == "simple-scheduler"
    assert {p["port"] for p in service["spec"]["ports"]} == {8786, 8787}
    assert made["metadata"]["labels"] == {"test-label": "label-value"}
