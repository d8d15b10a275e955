"""Binding a pod: what it is to be afterwards."""

from __future__ import annotations

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR

PODS = GVR("", "v1", "pods")


async def test_a_bound_pod_is_expected_nowhere(api: EmbeddedCluster) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await api.client.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, "default")
    patch = {"status": {"nominatedNodeName": "n"}}
    nominated = await api.client.patch(PODS, "p", patch, "default", subresource="status")
    assert nominated["status"]["nominatedNodeName"] == "n"
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "other"}}
    await api.client.request(
        "POST",
        "/api/v1/namespaces/default/pods/p/binding",
        doc={"kind": "Binding", "apiVersion": "v1", **binding},
    )
    bound = await api.client.get(PODS, "p", "default")
    assert bound["spec"]["nodeName"] == "other"
    assert "nominatedNodeName" not in bound["status"]
