"""Pod security admission against a running server."""

from __future__ import annotations

from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.request import Request, User

PODS = GVR("", "v1", "pods")
NAMESPACES = GVR("", "v1", "namespaces")
ADMIN = User("admin", ("system:masters",))


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


async def namespace(api: EmbeddedCluster, **labels: str) -> None:
    told = {f"pod-security.kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()}
    await api.client.create(NAMESPACES, {"metadata": {"name": "ns", "labels": told}})


async def test_a_pod_is_refused_with_the_level_and_its_version(api: EmbeddedCluster) -> None:
    await namespace(api, enforce="baseline", enforce_version="v1.30")
    with pytest.raises(StatusError) as e:
        await api.client.create(PODS, {**pod("x", hostPID=True)}, "ns")
    assert e.value.message == (
        'pods "x" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces '
        "(hostPID=true)"
    )


async def test_a_generated_name_is_told(api: EmbeddedCluster) -> None:
    await namespace(api, enforce="baseline")
    body = pod("", hostPID=True)
    body["metadata"] = {"generateName": "x-"}
    with pytest.raises(StatusError, match=r'^pods "x-\w{5}" is forbidden: violates'):
        await api.client.create(PODS, body, "ns")


async def test_wrong_labels_of_a_new_namespace_are_causes(api: EmbeddedCluster) -> None:
    with pytest.raises(StatusError) as e:
        await namespace(api, enforce="nope", warn_version="v9")
    assert e.value.code == 422
    assert [c["field"] for c in (e.value.details or {})["causes"]] == [
        "metadata.labels[pod-security.kubernetes.io/enforce]",
        "metadata.labels[pod-security.kubernetes.io/warn-version]",
    ]


async def test_existing_pods_with_the_same_faults_share_a_warning(api: EmbeddedCluster) -> None:
    await namespace(api)
    for name in ("b", "a", "c"):
        await api.client.create(PODS, pod(name, hostIPC=True), "ns")
    request = Request(
        "PATCH",
        "/api/v1/namespaces/ns",
        headers={"Content-Type": "application/merge-patch+json"},
        body=b'{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}',
        user=ADMIN,
    )
    response = await api.api.handle(request)
    assert response.status == 200
    assert request.warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level '
        '"baseline:latest"',
        "a (and 2 other pods): host namespaces",
    ]
