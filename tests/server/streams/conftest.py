"""A cluster with a pod that runs: its containers are processes of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import Kubectl
from tests.server.streams.local_kubelet import LocalKubelet

from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR

PODS = GVR("", "v1", "pods")


async def make_pod(cluster: EmbeddedCluster, name: str, node: str = "real", **status: Any) -> Any:
    """A pod with the containers main and side; Running unless ``status`` says otherwise."""
    containers = [{"name": "main", "image": "busybox"}, {"name": "side", "image": "busybox"}]
    await cluster.client.create(
        PODS,
        {
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": containers},
        },
    )
    return await cluster.client.patch(
        PODS,
        name,
        {"status": {"phase": "Running", **status}},
        namespace="default",
        subresource="status",
    )


@pytest.fixture
async def real() -> AsyncIterator[EmbeddedCluster]:
    """A server without controllers; pods of the node "real" are run by :func:`kubelet`."""
    before = asyncio.all_tasks()
    async with embedded(
        nodes=0, controllers=False, disable_admission=["ServiceAccount"]
    ) as cluster:
        cluster.api.kubelet = LocalKubelet()
        await make_pod(cluster, "web")
        yield cluster
        sessions = set(cluster.api.sessions)
    # Whatever a test has left open ended with the server.
    assert all(session.done() for session in sessions)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"tasks were left behind: {left}"


@pytest.fixture
def kubelet(real: EmbeddedCluster) -> LocalKubelet:
    """What runs the pods."""
    assert isinstance(real.api.kubelet, LocalKubelet)
    return real.api.kubelet


@pytest.fixture
def kubectl(real: EmbeddedCluster) -> Kubectl:
    """kubectl for the cluster."""
    return Kubectl(real.kubeconfig_path)
