"""10,000 pods on 1,000 simulated nodes: from the first request until all run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import yaml

from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR

__all__ = ["NODES", "scale"]

NODES = 1000
PODS = 10_000
DEPLOYMENTS = GVR("apps", "v1", "deployments")
POD = GVR("", "v1", "pods")
NAMESPACE = "default"
# Each node takes 110 pods: there is room for ten of a hundredth of a core on every one.
SPEC = {
    "containers": [
        {
            "name": "main",
            "image": "registry.example.com/app:1",
            "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
        }
    ]
}


def _pod(i: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p-{i}", "namespace": NAMESPACE, "labels": {"app": "scale"}},
        "spec": SPEC,
    }


def _deployment(i: int, replicas: int) -> dict[str, Any]:
    labels = {"app": f"s-{i}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"s-{i}", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": SPEC},
        },
    }


async def scale(config: str, *, by_deployments: bool = False, clients: int = 8) -> float:
    """Seconds from the first create until ``PODS`` pods run, on nodes that have room.

    They are created one by one from ``clients`` at once, or by ten Deployments.
    """
    connection = kubeconfig.load(yaml.safe_load(config))
    async with Client.connect(connection) as client:
        listed = await client.list(POD, NAMESPACE)
        running: set[str] = set()

        async def watch() -> None:
            async with client.watch(
                POD, NAMESPACE, resource_version=listed.resource_version
            ) as events:
                async for event in events:
                    if event.object.get("status", {}).get("phase") == "Running":
                        running.add(event.object["metadata"]["name"])
                        if len(running) == PODS:
                            return

        async def create(make: Callable[[int], Awaitable[object]], numbers: Any) -> None:
            for i in numbers:
                await make(i)

        if by_deployments:
            numbers = iter(range(10))

            def make(i: int) -> Awaitable[object]:
                return client.create(DEPLOYMENTS, _deployment(i, PODS // 10))
        else:
            numbers = iter(range(PODS))

            def make(i: int) -> Awaitable[object]:
                return client.create(POD, _pod(i))

        begun = time.perf_counter()
        watcher = asyncio.create_task(watch())
        async with asyncio.timeout(300):
            await asyncio.gather(*(create(make, numbers) for _ in range(clients)))
            await watcher
        return time.perf_counter() - begun
