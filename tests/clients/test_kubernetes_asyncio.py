"""kubernetes-asyncio: typed objects, patches, watches, logs, the dynamic client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster

pytest.importorskip("kubernetes_asyncio")


@pytest.fixture
async def asynchronous(cluster: EmbeddedCluster) -> AsyncIterator[Any]:
    """An ApiClient of the cluster."""
    from kubernetes_asyncio import config

    async with await config.new_client_from_config(str(cluster.kubeconfig_path)) as client:
        yield client


def deployment(name: str = "web", replicas: int = 2) -> Any:
    from kubernetes_asyncio import client as k

    labels = {"app": name}
    pod = k.V1PodSpec(containers=[k.V1Container(name="main", image="nginx")])
    return k.V1Deployment(
        metadata=k.V1ObjectMeta(name=name, labels=labels),
        spec=k.V1DeploymentSpec(
            replicas=replicas,
            selector=k.V1LabelSelector(match_labels=labels),
            template=k.V1PodTemplateSpec(metadata=k.V1ObjectMeta(labels=labels), spec=pod),
        ),
    )


async def test_a_deployment_is_rolled_out_scaled_and_deleted(asynchronous: Any) -> None:
    """Watched to its end, as a deploying program does."""
    from kubernetes_asyncio import client as k
    from kubernetes_asyncio import watch

    apps = k.AppsV1Api(asynchronous)
    await apps.create_namespaced_deployment("default", deployment())
    seen = []
    async with asyncio.timeout(30), watch.Watch() as watcher:
        async for event in watcher.stream(apps.list_namespaced_deployment, "default"):
            seen.append(event["type"])
            if event["object"].status.available_replicas == 2:
                break
    scaled = await apps.patch_namespaced_deployment_scale(
        "web", "default", {"spec": {"replicas": 1}}
    )
    pods = await k.CoreV1Api(asynchronous).list_namespaced_pod("default", label_selector="app=web")
    await apps.delete_namespaced_deployment("web", "default")
    with pytest.raises(k.ApiException) as gone:
        await apps.read_namespaced_deployment("web", "default")

    assert seen[0] == "ADDED"
    assert set(seen[1:]) <= {"MODIFIED"}
    assert scaled.spec.replicas == 1
    assert {p.status.phase for p in pods.items} == {"Running"}
    assert (gone.value.status, gone.value.reason) == (404, "Not Found")


async def test_custom_objects_and_the_dynamic_client(asynchronous: Any) -> None:
    from kubernetes_asyncio import client as k
    from kubernetes_asyncio.dynamic import DynamicClient

    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kites.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "kites", "singular": "kite", "kind": "Kite"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }  # fmt: skip
    await k.ApiextensionsV1Api(asynchronous).create_custom_resource_definition(body)
    custom = k.CustomObjectsApi(asynchronous)
    where = ("example.com", "v1", "default", "kites")
    kite = {"apiVersion": "example.com/v1", "kind": "Kite", "metadata": {"name": "red"}}
    await custom.create_namespaced_custom_object(*where, {**kite, "spec": {"tail": 1}})
    await custom.patch_namespaced_custom_object(
        *where, "red", [{"op": "replace", "path": "/spec/tail", "value": 2}]
    )
    dynamic = await DynamicClient(asynchronous)
    kites = await dynamic.resources.get(api_version="example.com/v1", kind="Kite")
    found = await kites.get(name="red", namespace="default")
    applied = await dynamic.server_side_apply(
        kites, {**kite, "spec": {"tail": 3}}, namespace="default", field_manager="me", force_conflicts=True
    )  # fmt: skip

    assert found.spec.tail == 2
    assert applied.spec.tail == 3
    assert applied.metadata.managedFields[-1].operation in ("Apply", "Update")
