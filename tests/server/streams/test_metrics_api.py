"""metrics.k8s.io: kubectl top, and what else asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Kubectl
from tests.server.streams.conftest import make_pod
from tests.server.streams.local_kubelet import TIME, LocalKubelet

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.kubelet import Usage
from cove.server.metrics import publish_metrics

NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
POD_METRICS = GVR("metrics.k8s.io", "v1beta1", "pods")
NODE_METRICS = GVR("metrics.k8s.io", "v1beta1", "nodes")
APISERVICES = GVR("apiregistration.k8s.io", "v1", "apiservices")
MEBI = 1024 * 1024


def usage(cpu: int, memory: int) -> Usage:
    """Of so many millicores and mebibytes."""
    return Usage(time=TIME, window=15.0123, cpu=cpu * 1_000_000, memory=memory * MEBI)


@pytest.fixture
async def measured(real: EmbeddedCluster, kubelet: LocalKubelet) -> EmbeddedCluster:
    """Two pods and a node whose usage is known, and one of each where it is not."""
    publish_metrics(real.api)
    for node in ("real", "new"):
        await real.client.create(NODES, {"metadata": {"name": node, "labels": {"is": node}}})
        status = {
            "allocatable": {"cpu": "2", "memory": "1Gi"},
            "capacity": {"cpu": "2", "memory": "1Gi"},
        }
        await real.client.patch(NODES, node, {"status": status}, subresource="status")
    for name, cpu in (("web", 10), ("db", 200)):
        if name != "web":
            await make_pod(real, name)
        pod = await real.client.get(PODS, name, "default")
        used = {"main": usage(cpu, 64), "side": usage(1, 3)}
        kubelet.used[pod["metadata"]["uid"]] = used
    await make_pod(real, "young")
    kubelet.nodes_used["real"] = usage(500, 256)
    return real


@pytest.mark.requires("kubectl")
class TestTop:
    """The unmodified kubectl top."""

    @pytest.mark.usefixtures("measured")
    async def test_nodes_are_told_with_their_share(self, kubectl: Kubectl) -> None:
        lines = (await kubectl("top", "nodes")).splitlines()
        assert lines[1].split() == ["real", "500m", "25%", "256Mi", "25%"]

    @pytest.mark.usefixtures("measured")
    async def test_pods_are_summed_up_or_told_by_container(self, kubectl: Kubectl) -> None:
        lines = (await kubectl("top", "pods")).splitlines()[1:]
        assert [line.split() for line in lines] == [
            ["db", "201m", "67Mi"],
            ["web", "11m", "67Mi"],
        ]
        one = await kubectl("top", "pods", "-A", "-l", "app=db", "--containers", "--no-headers")
        assert [line.split() for line in one.splitlines()] == [
            ["default", "db", "main", "200m", "64Mi"],
            ["default", "db", "side", "1m", "3Mi"],
        ]
        assert (await kubectl("top", "pod", "web", "--no-headers")).split() == [
            "web",
            "11m",
            "67Mi",
        ]

    async def test_before_there_is_any_data_it_says_so(self, kubectl: Kubectl) -> None:
        done = await kubectl.attempt("top", "nodes")
        assert (done.code, done.err) == (1, "error: metrics not available yet\n")

    @pytest.mark.usefixtures("measured")
    async def test_metrics_are_listed_as_a_table(self, kubectl: Kubectl) -> None:
        lines = (await kubectl("get", "pods.metrics.k8s.io")).splitlines()
        assert lines[0].split() == ["NAME", "CPU", "MEMORY", "WINDOW"]
        assert lines[1].split() == ["db", "201m", "67Mi", "15.012s"]
        assert (await kubectl("get", "nodes.metrics.k8s.io", "-o", "name")).split() == [
            "nodemetrics.metrics.k8s.io/real"
        ]

    async def test_simulated_clusters_have_no_metrics(
        self, real: EmbeddedCluster, kubectl: Kubectl
    ) -> None:
        publish_metrics(real.api)
        real.api.kubelet, kept = None, real.api.kubelet
        publish_metrics(real.api)
        done = await kubectl.attempt("top", "nodes")
        real.api.kubelet = kept
        assert (done.code, done.err) == (1, "error: Metrics API not available\n")
        with pytest.raises(StatusError):
            await real.client.get(APISERVICES, "v1beta1.metrics.k8s.io")


async def test_one_object_says_when_and_over_how_long(measured: EmbeddedCluster) -> None:
    found: Any = await measured.client.get(POD_METRICS, "web", "default")
    assert found.pop("metadata") | {"creationTimestamp": ""} == {
        "name": "web",
        "namespace": "default",
        "creationTimestamp": "",
        "labels": {"app": "web"},
    }
    assert found == {
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "timestamp": "2026-01-01T00:00:00Z",
        "window": "15.012s",
        "containers": [
            {"name": "main", "usage": {"cpu": "10m", "memory": "64Mi"}},
            {"name": "side", "usage": {"cpu": "1m", "memory": "3Mi"}},
        ],
    }


async def test_selectors_choose_pods_and_nodes(measured: EmbeddedCluster) -> None:
    async def names(gvr: GVR, **options: Any) -> list[str]:
        found = await measured.client.list(gvr, **options)
        return [item["metadata"]["name"] for item in found.items]

    assert await names(POD_METRICS, label_selector="app in (web, young)") == ["web"]
    assert await names(POD_METRICS, field_selector="metadata.name=db") == ["db"]
    assert await names(POD_METRICS, namespace="kube-system") == []
    assert await names(NODE_METRICS, label_selector="is=new") == []
    assert await names(NODE_METRICS) == ["real"]


@pytest.mark.parametrize(
    ("method", "path", "code", "text"),
    [
        ("GET", "namespaces/default/pods/none", 404, 'pods "none" not found'),
        (
            "GET",
            "namespaces/default/pods/young",
            404,
            'podmetrics.metrics.k8s.io "default/young" not found',
        ),
        ("GET", "nodes/new", 404, 'nodemetrics.metrics.k8s.io "new" not found'),
        ("GET", "namespaces/default/nodes", 404, "could not find the requested resource"),
        ("GET", "pods/web", 404, "could not find the requested resource"),
        ("GET", "services", 404, "could not find the requested resource"),
        ("DELETE", "nodes/real", 405, "does not allow this method"),
        ("GET", "pods?watch=true", 405, "does not allow this method"),
        ("GET", "pods?labelSelector=!", 400, ""),
    ],
)
async def test_what_is_not_there_is_told(
    measured: EmbeddedCluster, method: str, path: str, code: int, text: str
) -> None:
    base, _, query = path.partition("?")
    options = dict([query.split("=", 1)]) if query else {}
    with pytest.raises(StatusError) as refused:
        await measured.client.raw(method, f"/apis/metrics.k8s.io/v1beta1/{base}", query=options)
    assert refused.value.code == code
    assert text in refused.value.message


async def test_it_is_part_of_discovery(measured: EmbeddedCluster) -> None:
    service = await measured.client.get(APISERVICES, "v1beta1.metrics.k8s.io")
    assert service["spec"] == {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    assert [(c["type"], c["status"]) for c in service["status"]["conditions"]] == [
        ("Available", "True")
    ]
    assert b'"PodMetrics"' in await measured.client.raw("GET", "/apis/metrics.k8s.io/v1beta1")


async def test_who_may_view_may_read_metrics(measured: EmbeddedCluster, kubectl: Kubectl) -> None:
    """And nobody else."""
    for name in ("nodes", "pods"):
        refused = await kubectl.attempt("top", name, "--as=jane")
        assert f'User "jane" cannot list resource "{name}" in API group "metrics.k8s.io"' in (
            refused.err
        )
    role = "system:aggregated-metrics-reader"
    await kubectl("create", "clusterrolebinding", "jane", f"--clusterrole={role}", "--user=jane")
    assert "web" in await kubectl("top", "pods", "--as=jane")
