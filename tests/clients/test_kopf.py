"""kopf: an operator as its users write them, run against the cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

kopf = pytest.importorskip("kopf")

KITES = GVR("example.com", "v1", "kites")
CONFIG_MAPS = GVR("", "v1", "configmaps")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
EVENTS = GVR("", "v1", "events")
DEFINITION = {
    "metadata": {"name": "kites.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "kites", "singular": "kite", "kind": "Kite"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


def operator(credentials: Any) -> Any:
    """A child per kite, a field that is followed, a finalizer, status, events."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> Any:
        return credentials

    @kopf.on.create("kites", id="created", registry=registry)
    async def created(spec: Any, name: str, namespace: str, body: Any, **_: Any) -> dict[str, Any]:
        child = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-child"},
            "data": {"tail": str(spec["tail"])},
        }
        kopf.adopt(child, owner=body)
        await credentials.cluster.client.create(CONFIG_MAPS, child, namespace)
        kopf.info(body, reason="Flown", message="it flies")
        return {"seen": spec["tail"]}

    @kopf.on.field("kites", field="spec.tail", old=kopf.PRESENT, registry=registry)
    async def longer(new: int, patch: Any, **_: Any) -> None:
        patch.status["tail"] = new

    @kopf.on.delete("kites", registry=registry)
    async def deleted(name: str, **_: Any) -> None:
        credentials.gone.append(name)

    return registry


def connection(cluster: EmbeddedCluster) -> Any:
    """What the login handler gives, with what the handlers need besides."""
    from base64 import b64decode

    doc = yaml.safe_load(cluster.kubeconfig)
    user, server = doc["users"][0]["user"], doc["clusters"][0]["cluster"]
    folder = cluster.kubeconfig_path.parent
    for name, data in (
        ("kopf.crt", user["client-certificate-data"]),
        ("kopf.key", user["client-key-data"]),
        ("kopf.ca", server["certificate-authority-data"]),
    ):
        (folder / name).write_bytes(b64decode(data))

    class Connection(kopf.ConnectionInfo):  # type: ignore[misc, name-defined]
        pass

    made = Connection(
        server=cluster.url,
        ca_path=str(folder / "kopf.ca"),
        certificate_path=str(folder / "kopf.crt"),
        private_key_path=str(folder / "kopf.key"),
        default_namespace="default",
    )
    object.__setattr__(made, "cluster", cluster)
    object.__setattr__(made, "gone", [])
    return made


async def until(cluster: EmbeddedCluster, wanted: Any) -> dict[str, Any]:
    """The kite, once ``wanted`` says so of it."""
    async with asyncio.timeout(30), cluster.client.watch(KITES, "default") as events:
        async for event in events:
            if event.type != "BOOKMARK" and wanted(event):
                return event.object
    raise AssertionError("the watch ended")


async def test_an_operator_lives_a_whole_life(cluster: EmbeddedCluster) -> None:
    client = cluster.client
    await client.create(CRDS, DEFINITION)
    given = connection(cluster)
    stop = asyncio.Event()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = True
    running = asyncio.create_task(
        kopf.operator(
            registry=operator(given),
            settings=settings,
            namespaces=["default"],
            standalone=True,
            stop_flag=stop,
        )
    )
    try:
        kite = {"apiVersion": "example.com/v1", "kind": "Kite", "metadata": {"name": "red"}}
        await client.create(KITES, {**kite, "spec": {"tail": 1}}, "default")
        made = await until(cluster, lambda e: e.object.get("status", {}).get("created"))
        child = await client.get(CONFIG_MAPS, "red-child", "default")
        await client.patch(KITES, "red", {"spec": {"tail": 2}}, "default")
        longer = await until(cluster, lambda e: e.object.get("status", {}).get("tail") == 2)
        await client.delete(KITES, "red", "default")
        await until_gone(cluster)
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)
    events = (await client.list(EVENTS, "default")).items

    assert made["status"]["created"] == {"seen": 1}
    assert made["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    assert child["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert longer["spec"]["tail"] == 2
    assert given.gone == ["red"]
    assert "Flown" in {e["reason"] for e in events}


async def until_gone(cluster: EmbeddedCluster) -> None:
    """Return when the kite is gone, finalizer and all."""
    found = await cluster.client.list(KITES, "default")
    if not found.items:
        return
    async with (
        asyncio.timeout(30),
        cluster.client.watch(KITES, "default", resource_version=found.resource_version) as events,
    ):
        async for event in events:
            if event.type == "DELETED":
                break
    with pytest.raises(StatusError, match="not found"):
        await cluster.client.get(KITES, "red", "default")
