"""What goes wrong in every cluster some day: nothing is stuck, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import cove
from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

CONFIG_MAPS = GVR("", "v1", "configmaps")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
EVENTS = GVR("", "v1", "events")
NAMESPACES = GVR("", "v1", "namespaces")
PODS = GVR("", "v1", "pods")
WIDGETS = GVR("example.com", "v1", "widgets")


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded() as made:
        yield made


def config_map(name: str, owner: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    if owner is not None:
        metadata["ownerReferences"] = [owned_by(owner)]
    return {"metadata": metadata}


def owned_by(owner: dict[str, Any], *, blocks: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": blocks,
    }


async def there(cluster: EmbeddedCluster) -> set[str]:
    listed = (await cluster.client.list(CONFIG_MAPS, "default")).items
    return {o["metadata"]["name"] for o in listed} - {"kube-root-ca.crt"}


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_owners_in_a_circle_are_deleted_together(
    cluster: EmbeddedCluster, policy: str
) -> None:
    """Each waits for the next, which upstream's garbage collector sees through too."""
    client = cluster.client
    made = [await client.create(CONFIG_MAPS, config_map(name)) for name in "abc"]
    for one, owner in zip(made, [made[2], made[0], made[1]], strict=True):
        await client.patch(
            CONFIG_MAPS,
            one["metadata"]["name"],
            {"metadata": {"ownerReferences": [owned_by(owner, blocks=True)]}},
            "default",
        )
    await cluster.settle()
    assert await there(cluster) == {"a", "b", "c"}
    await client.delete(CONFIG_MAPS, "a", "default", propagation=policy)
    await cluster.clock.advance(60)
    assert await there(cluster) == set()


async def test_an_owner_that_never_was_takes_its_dependents_along(
    cluster: EmbeddedCluster,
) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}}
    await cluster.client.create(CONFIG_MAPS, config_map("orphan", ghost))
    await cluster.clock.advance(60)
    assert await there(cluster) == set()


async def test_a_finalizer_nobody_removes_holds_its_object_and_namespace_alone(
    cluster: EmbeddedCluster,
) -> None:
    """The namespace says what it waits for; the rest of the cluster goes on."""
    client = cluster.client
    await client.create(NAMESPACES, {"metadata": {"name": "held"}})
    await client.create(
        CONFIG_MAPS,
        {"metadata": {"name": "a", "namespace": "held", "finalizers": ["example.com/hold"]}},
    )
    await client.delete(NAMESPACES, "held")
    await cluster.clock.advance(300)
    namespace = await client.get(NAMESPACES, "held")
    conditions = {c["type"]: c for c in namespace["status"]["conditions"]}
    assert namespace["status"]["phase"] == "Terminating"
    assert "example.com/hold in 1 resource" in conditions["NamespaceFinalizersRemaining"]["message"]
    with pytest.raises(StatusError) as caught:
        await client.create(CONFIG_MAPS, {"metadata": {"name": "b", "namespace": "held"}})
    assert caught.value.code == 403
    await client.create(CONFIG_MAPS, config_map("elsewhere"))

    await client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "held")
    await cluster.clock.advance(60)
    with pytest.raises(StatusError) as caught:
        await client.get(NAMESPACES, "held")
    assert caught.value.code == 404


def crd(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": schema}},
                }
            ],
        },
    }


async def test_a_crd_cannot_be_made_invalid_and_narrowing_it_breaks_no_object(
    cluster: EmbeddedCluster,
) -> None:
    """What is stored is still read; changed it must fit, but for what it had wrong already."""
    client = cluster.client
    await client.create(CRDS, crd({"size": {"type": "integer"}, "name": {"type": "string"}}))
    await client.create(
        WIDGETS,
        {"apiVersion": "example.com/v1", "kind": "Widget", "size": 100, "name": "x"}
        | {"metadata": {"name": "w", "namespace": "default"}},
    )
    with pytest.raises(StatusError) as caught:
        await client.patch(
            CRDS,
            "widgets.example.com",
            [{"op": "remove", "path": "/spec/versions/0/schema"}],
            type="json",
        )
    assert caught.value.code == 422
    narrower = {"size": {"type": "integer", "maximum": 10}, "name": {"type": "string"}}
    await client.patch(
        CRDS,
        "widgets.example.com",
        [
            {
                "op": "replace",
                "path": "/spec/versions/0/schema/openAPIV3Schema/properties",
                "value": narrower,
            }
        ],
        type="json",
    )
    assert (await client.get(WIDGETS, "w", "default"))["size"] == 100
    changed = await client.patch(WIDGETS, "w", {"name": "y"}, "default")
    assert (changed["size"], changed["name"]) == (100, "y")
    with pytest.raises(StatusError, match="should be less than or equal to 10"):
        await client.patch(WIDGETS, "w", {"size": 99}, "default")


async def test_a_flood_of_events_drowns_nobody(cluster: EmbeddedCluster) -> None:
    """Ten thousand: a watch that does not read is cut off and told so, others are served."""
    count = 10_000
    about = {"kind": "Pod", "name": "p", "namespace": "default", "apiVersion": "v1"}
    client = cluster.client
    revision = (await client.list(EVENTS)).resource_version
    connection = kubeconfig.load(str(cluster.kubeconfig_path))

    async with (
        Client.connect(connection) as outside,
        outside.watch(EVENTS, "default", resource_version=revision) as lazy,
        client.watch(EVENTS, "default", resource_version=revision) as eager,
    ):
        seen = 0

        async def read() -> None:
            nonlocal seen
            async for event in eager:
                seen += event.type == "ADDED" and event.object["reason"] == "Flood"
                if seen == count:
                    return

        reading = asyncio.create_task(read())
        for i in range(count):
            await client.create(
                EVENTS,
                {
                    "metadata": {"name": f"p.{i}", "namespace": "default"},
                    "involvedObject": about,
                    "reason": "Flood",
                    "type": "Normal",
                },
            )
            if i % 100 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await reading
        assert (await client.list(EVENTS, "default", page_size=500)).items[-1]
        # It has slept all the while, and gets everything or is told that it cannot.
        got = 0
        try:
            async with asyncio.timeout(30):
                async for event in lazy:
                    got += event.object.get("reason") == "Flood"
                    if got == count:
                        break
        except StatusError as e:
            got = count if e.code == 410 else 0
        assert got == count
    await client.create(
        DEPLOYMENTS,
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "main", "image": "nginx"}]},
                },
            },
        },
    )
    await cluster.settle()
    assert (await client.get(DEPLOYMENTS, "web", "default"))["status"]["readyReplicas"] == 1
