"""A thousand Deployments of one pod: from the first request until all are ready."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import yaml

from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR

__all__ = ["deployments"]

DEPLOYMENTS = GVR("apps", "v1", "deployments")
NAMESPACE = "default"


def deployment(i: int) -> dict[str, Any]:
    labels = {"app": f"d-{i}"}
    container = {
        "name": "main",
        "image": "registry.example.com/app:1",
        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"d-{i}", "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def deployments(config: str, count: int = 1000, clients: int = 8) -> None:
    """Print the seconds it took; ``config`` is a kubeconfig, the nodes have to have room for ``count`` pods."""
    connection = kubeconfig.load(yaml.safe_load(config))
    async with Client.connect(connection) as client:
        listed = await client.list(DEPLOYMENTS, NAMESPACE)
        ready: set[str] = set()

        async def watch() -> None:
            async with client.watch(
                DEPLOYMENTS, NAMESPACE, resource_version=listed.resource_version
            ) as events:
                async for event in events:
                    if event.object.get("status", {}).get("readyReplicas") == 1:
                        ready.add(event.object["metadata"]["name"])
                        if len(ready) == count:
                            return

        numbers = iter(range(count))

        async def create() -> None:
            for i in numbers:
                await client.create(DEPLOYMENTS, deployment(i))

        begun = time.perf_counter()
        watcher = asyncio.create_task(watch())
        await asyncio.gather(*(create() for _ in range(clients)))
        created = time.perf_counter() - begun
        await watcher
        seconds = time.perf_counter() - begun
    print(f"{'1,000 Deployments, all ready':<34}{seconds:9.2f} s   goal ≤ 5 s")
    print(f"{'… of which creating them':<34}{created:9.2f} s")
