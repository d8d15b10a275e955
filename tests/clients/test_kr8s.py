"""kr8s: objects with methods, selectors, watches, waits, classes made of discovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster

kr8s = pytest.importorskip("kr8s")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # It tells of every version that it does not know yet.
    pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning"),
]

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "nginx"}]},
        },
    },
}


@pytest.fixture
async def api(cluster: EmbeddedCluster) -> AsyncIterator[Any]:
    """The client; it has no end of its own, so that its session is closed for it."""
    made = await kr8s.asyncio.api(kubeconfig=str(cluster.kubeconfig_path))
    yield made
    if made._session is not None:
        await made._session.aclose()


async def test_a_deployment_is_created_scaled_and_deleted(api: Any) -> None:
    from kr8s.asyncio.objects import Deployment, Pod

    web = await Deployment(DEPLOYMENT, api=api)
    await web.create()
    async with asyncio.timeout(30):
        await web.wait("condition=Available")
    pods = [p async for p in Pod.list(api=api, namespace="default", label_selector={"app": "web"})]
    async with asyncio.timeout(30):
        for pod in pods:
            await pod.wait("condition=Ready")
    await web.scale(1)
    await web.label(team="a")
    await web.annotate({"note": "b"})
    found = await Deployment.get("web", namespace="default", api=api)
    nodes = [node.name async for node in api.get("nodes")]
    await web.delete()
    async with asyncio.timeout(30):
        await web.wait("delete")
    version = await api.version()

    assert len(pods) >= 2
    assert (found.replicas, found.labels["team"], found.annotations["note"]) == (1, "a", "b")
    assert nodes == ["node-0", "node-1"]
    assert not await web.exists()
    assert version["major"] == "1"


async def test_classes_of_custom_resources_are_made_of_discovery(api: Any) -> None:
    from kr8s.asyncio.objects import CustomResourceDefinition, new_class

    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = await CustomResourceDefinition(
        {
            "metadata": {"name": "kites.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "kites", "singular": "kite", "kind": "Kite"},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
                ],
            },
        },
        api=api,
    )  # fmt: skip
    await definition.create()
    async with asyncio.timeout(30):
        await definition.wait("condition=Established")
    kites: Any = new_class(kind="Kite", version="example.com/v1", namespaced=True, asyncio=True)
    red = await kites(
        {"metadata": {"name": "red", "namespace": "default"}, "spec": {"tail": 1}}, api=api
    )
    await red.create()
    await red.patch({"spec": {"tail": 2}})

    found = [k.spec.tail async for k in api.get("kites", namespace="default")]

    assert found == [2]
