"""lightkube: typed resources, apply, watches, generic resources, both of its clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster

lightkube = pytest.importorskip("lightkube")
# The client leaves the closing of its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def deployment(replicas: int) -> Any:
    from lightkube.models.apps_v1 import DeploymentSpec
    from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
    from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
    from lightkube.resources.apps_v1 import Deployment

    labels = {"app": "web"}
    pod = PodSpec(containers=[Container(name="main", image="nginx")])
    return Deployment(
        apiVersion="apps/v1",
        kind="Deployment",
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod),
        ),
    )


async def test_a_deployment_is_applied_awaited_and_deleted(cluster: EmbeddedCluster) -> None:
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import Pod

    config = lightkube.KubeConfig.from_file(str(cluster.kubeconfig_path))
    client = lightkube.AsyncClient(config, field_manager="me")
    try:
        await client.apply(deployment(2))
        async with asyncio.timeout(30):
            await client.wait(Deployment, "web", for_conditions=["Available"])
            async for _, found in client.watch(Deployment, namespace="default"):
                if found.status.availableReplicas == 2:
                    break
        again = await client.apply(deployment(1))
        pods = [p async for p in client.list(Pod, labels={"app": "web"}, chunk_size=1)]
        await client.patch(Deployment, "web", {"metadata": {"labels": {"a": "b"}}})
        await client.delete(Deployment, "web")
        with pytest.raises(lightkube.ApiError) as gone:
            await client.get(Deployment, "web")
    finally:
        await client.close()

    assert again.spec.replicas == 1
    assert {p.status.phase for p in pods} == {"Running"}
    assert (gone.value.status.code, gone.value.status.reason) == (404, "NotFound")


async def test_custom_resources_through_the_blocking_client(cluster: EmbeddedCluster) -> None:
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.models import apiextensions_v1 as ext
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
    from lightkube.types import PatchType

    kites = create_namespaced_resource("example.com", "v1", "Kite", "kites")
    schema = ext.JSONSchemaProps.from_dict(
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    )
    names = ext.CustomResourceDefinitionNames(kind="Kite", plural="kites", singular="kite")
    version = ext.CustomResourceDefinitionVersion(
        name="v1",
        served=True,
        storage=True,
        schema=ext.CustomResourceValidation(openAPIV3Schema=schema),
    )
    crd = CustomResourceDefinition(
        metadata=ObjectMeta(name="kites.example.com"),
        spec=ext.CustomResourceDefinitionSpec(
            group="example.com", names=names, scope="Namespaced", versions=[version]
        ),
    )

    def work() -> Any:
        config = lightkube.KubeConfig.from_file(str(cluster.kubeconfig_path))
        client = lightkube.Client(config)
        client.create(crd)
        made = client.create(kites(metadata=ObjectMeta(name="red"), spec={"tail": 1}))
        made["spec"]["tail"] = 2
        client.replace(made)
        stale = client.get(kites, "red")
        client.patch(kites, "red", {"spec": {"tail": 3}}, patch_type=PatchType.MERGE)
        with pytest.raises(lightkube.ApiError) as conflict:
            client.replace(stale)
        listed = [k["spec"]["tail"] for k in client.list(kites)]
        return conflict.value.status.reason, listed

    assert await asyncio.to_thread(work) == ("Conflict", [3])
