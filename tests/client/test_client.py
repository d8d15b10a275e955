"""The client's verbs, over HTTPS and in the same process, against our server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml

from cove.client import Client, UnknownKindError, UnreachableError, kubeconfig, meta
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")


@pytest.fixture(params=["in-process", "https"])
async def client(api: EmbeddedCluster, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """The same client on both transports."""
    if request.param == "in-process":
        yield api.client
        return
    async with Client.connect(kubeconfig.load(yaml.safe_load(api.kubeconfig))) as connected:
        yield connected


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


async def test_an_object_lives_and_dies(client: Client) -> None:
    created = await client.create(CONFIG_MAPS, config_map("a", k="1"))
    assert meta(created).name == "a"
    created["data"]["k"] = "2"
    await client.update(CONFIG_MAPS, created)
    patched = await client.patch(CONFIG_MAPS, "a", {"data": {"l": "3"}}, "default")
    assert patched["data"] == {"k": "2", "l": "3"}
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == patched["data"]
    await client.delete(CONFIG_MAPS, "a", "default", uid=meta(created).uid)
    with pytest.raises(StatusError) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")


async def test_a_stale_update_conflicts(client: Client) -> None:
    created = await client.create(CONFIG_MAPS, config_map("a"))
    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "y"}}, "default")
    with pytest.raises(StatusError) as caught:
        await client.update(CONFIG_MAPS, created)
    assert caught.value.code == 409


async def test_lists_come_in_pages(client: Client) -> None:
    for index in range(5):
        await client.create(CONFIG_MAPS, config_map(f"m{index}"))
    whole = await client.list(CONFIG_MAPS, "default")
    paged = await client.list(CONFIG_MAPS, "default", page_size=2)
    sizes = [len(p.items) async for p in client.pages(CONFIG_MAPS, "default", page_size=2)]
    assert [meta(o).name for o in paged.items] == [meta(o).name for o in whole.items]
    assert sum(sizes) == len(whole.items)
    assert max(sizes) == 2


async def test_metadata_only_leaves_the_rest_out(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a", k="1"))
    (found,) = (
        o
        for o in (await client.list(CONFIG_MAPS, "default", metadata_only=True)).items
        if meta(o).name == "a"
    )
    assert "data" not in found


async def test_a_watch_tells_what_happens(client: Client) -> None:
    since = (await client.list(CONFIG_MAPS, "default")).resource_version
    seen = []
    async with client.watch(CONFIG_MAPS, "default", resource_version=since) as events:
        await client.create(CONFIG_MAPS, config_map("a"))
        await client.delete(CONFIG_MAPS, "a", "default")
        async for event in events:
            seen.append((event.type, meta(event.object).name))
            if len(seen) == 2:
                break
    assert seen == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_that_is_refused_raises(client: Client) -> None:
    with pytest.raises(StatusError):
        async with client.watch(GVR("", "v1", "nothings")):
            pytest.fail("the watch opened")


async def test_apply_owns_what_it_sets(client: Client) -> None:
    doc = {"apiVersion": "v1", "kind": "ConfigMap", **config_map("a", k="1")}
    await client.apply(CONFIG_MAPS, doc, field_manager="one")
    with pytest.raises(StatusError) as caught:
        await client.apply(CONFIG_MAPS, {**doc, "data": {"k": "2"}}, field_manager="two")
    assert caught.value.code == 409
    forced = await client.apply(
        CONFIG_MAPS, {**doc, "data": {"k": "2"}}, field_manager="two", force=True
    )
    assert forced["data"] == {"k": "2"}


async def test_the_user_agent_names_the_manager(client: Client) -> None:
    created = await client.named("kube-controller-manager/v1").create(
        CONFIG_MAPS, config_map("a", k="1")
    )
    assert created["metadata"]["managedFields"][0]["manager"] == "kube-controller-manager"


async def test_kinds_are_found_by_discovery(client: Client) -> None:
    resource = await client.resource_of({"apiVersion": "apps/v1", "kind": "Deployment"})
    assert (resource.gvr, resource.namespaced) == (DEPLOYMENTS, True)
    assert {"status", "scale"} <= resource.subresources
    assert (await client.discovery.find("deploy")).gvr == DEPLOYMENTS
    assert (await client.discovery.find("pod")).gvr == GVR("", "v1", "pods")
    with pytest.raises(UnknownKindError):
        await client.resource_of({"apiVersion": "apps/v1", "kind": "Nothing"})


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    connection = kubeconfig.Connection(server="http://127.0.0.1:1")
    async with Client.connect(connection) as client:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
            await client.version()
