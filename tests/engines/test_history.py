"""What was: versions of objects, and the cluster at a revision."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from command import BIN

import cove
from cove.engines.embedded import EmbeddedCluster, in_process_client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.request import User

CONFIG_MAPS = GVR("", "v1", "configmaps")
NAMESPACES = GVR("", "v1", "namespaces")
ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")
BINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded() as made:
        yield made


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


async def changed_and_deleted(cluster: EmbeddedCluster) -> list[int]:
    """A ConfigMap that was made, changed and deleted; the revisions of the first two."""
    client = cluster.client
    made = await client.create(CONFIG_MAPS, config_map("a", k="1"))
    await cluster.clock.advance(60)
    changed = await client.patch(CONFIG_MAPS, "a", {"data": {"k": "2"}}, "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    return [int(o["metadata"]["resourceVersion"]) for o in (made, changed)]


async def test_the_versions_of_an_object_that_is_gone(cluster: EmbeddedCluster) -> None:
    """With time, what did it, and what changed."""
    revisions = await changed_and_deleted(cluster)
    versions = await cluster.history(CONFIG_MAPS, "a", "default")
    assert [v.type for v in versions] == ["ADDED", "MODIFIED", "DELETED"]
    assert [v.revision for v in versions[:2]] == revisions
    added, modified, deleted = versions
    assert added.object["data"] == {"k": "1"}
    assert deleted.object["data"] == {"k": "2"}
    assert added.time is not None
    assert modified.time is not None
    assert 60 <= (modified.time - added.time).total_seconds() < 61
    lines = added.diff(modified).splitlines()
    assert [line for line in lines if line[0] in "+-"][2:] == ["-  k: '1'", "+  k: '2'"]
    assert modified.diff(modified) == ""


async def test_an_object_names_its_own_history(cluster: EmbeddedCluster) -> None:
    made = await cluster.client.create(NAMESPACES, {"metadata": {"name": "x"}})
    assert (await cluster.history(made))[0].type == "ADDED"
    await cluster.client.create(CONFIG_MAPS, config_map("a"))
    short = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert len(await cluster.history(short)) == 1


async def test_what_is_older_than_the_window_is_known_as_present() -> None:
    """As far as the window goes, which can be chosen."""
    async with cove.embedded(controllers=False, history=8) as cluster:
        client = cluster.client
        await client.create(CONFIG_MAPS, config_map("old", k="0"))
        for i in range(20):
            await client.create(CONFIG_MAPS, config_map(f"c-{i}"))
        (only,) = await cluster.history(CONFIG_MAPS, "old", "default")
        assert (only.type, only.time) == ("PRESENT", None)
        await client.patch(CONFIG_MAPS, "old", {"data": {"k": "1"}}, "default")
        present, modified = await cluster.history(CONFIG_MAPS, "old", "default")
        assert (present.type, modified.type) == ("PRESENT", "MODIFIED")
        assert present.object["data"] == {"k": "0"}
        with pytest.raises(StatusError) as caught:
            await cluster.at(3).list(CONFIG_MAPS)
        assert caught.value.code == 410


async def test_the_writes_of_a_collection(cluster: EmbeddedCluster) -> None:
    await changed_and_deleted(cluster)
    await cluster.client.create(CONFIG_MAPS, config_map("b"))
    told = [
        (v.type, v.object["metadata"]["name"])
        for v in await cluster.history(CONFIG_MAPS, namespace="default")
        if v.object["metadata"]["name"] != "kube-root-ca.crt"
    ]
    assert told == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]


async def test_what_never_was_has_no_history(cluster: EmbeddedCluster) -> None:
    with pytest.raises(StatusError, match='configmaps "none" not found'):
        await cluster.history(CONFIG_MAPS, "none", "default")
    with pytest.raises(StatusError, match="names no objects"):
        await cluster.client.request("GET", "/cove/history/version")


async def test_the_cluster_at_a_revision_is_read_only(cluster: EmbeddedCluster) -> None:
    first, second = await changed_and_deleted(cluster)
    then = cluster.at(first)
    assert (await then.get(CONFIG_MAPS, "a", "default"))["data"] == {"k": "1"}
    later = (await cluster.at(second).list(CONFIG_MAPS, "default")).items
    assert {"k": "2"} in [o.get("data") for o in later]
    with pytest.raises(StatusError) as caught:
        await then.create(CONFIG_MAPS, config_map("b"))
    assert caught.value.code == 405
    with pytest.raises(StatusError) as caught:
        await cluster.at(10**9).list(CONFIG_MAPS)
    assert caught.value.code == 404


@pytest.mark.requires("kubectl")
async def test_kubectl_looks_at_the_past(cluster: EmbeddedCluster) -> None:
    first, _ = await changed_and_deleted(cluster)
    process = await asyncio.create_subprocess_exec(
        str(BIN / "kubectl"),
        "--server",
        f"{cluster.url}/revisions/{first}",
        "get",
        "configmap",
        "a",
        "-o",
        "json",
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert json.loads(out)["data"] == {"k": "1"}


async def test_the_past_is_for_who_may_read_now(cluster: EmbeddedCluster) -> None:
    """Neither a role that was taken away nor the door alone opens it."""
    revision, _ = await changed_and_deleted(cluster)
    alice = in_process_client(cluster.api, User("alice", ("system:authenticated",)), "test")
    rules = [{"nonResourceURLs": ["/cove/*", "/revisions/*"], "verbs": ["*"]}]
    reading = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    subject = {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    client = cluster.client
    await client.create(
        BINDINGS, {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": reference}
    )

    async def may(role: list[dict[str, Any]]) -> list[int]:
        await client.patch(
            ROLES,
            "r",
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "r"},
                "rules": role,
            },
            type="apply",
            field_manager="test",
        )
        answers = []
        for path in ("/cove/history", f"/revisions/{client_revision}"):
            try:
                await alice.request("GET", f"{path}/api/v1/namespaces/default/configmaps/a")
            except StatusError as e:
                answers.append(e.code)
            else:
                answers.append(200)
        return answers

    client_revision = revision
    assert await may(rules) == [403, 403]
    again = await client.create(CONFIG_MAPS, config_map("a"))
    assert await may([*rules, reading]) == [200, 403]  # alice might not read it then
    client_revision = int(
        (await client.patch(CONFIG_MAPS, "a", {"data": {"k": "3"}}, "default"))["metadata"][
            "resourceVersion"
        ]
    )
    assert int(again["metadata"]["resourceVersion"]) < client_revision
    assert await may([*rules, reading]) == [200, 200]
    assert await may([reading]) == [403, 403]
    assert await may(rules) == [403, 403]
