"""Snapshots: of clusters in this process, in the background, and stopped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from command import Cove

from cove.engines.embedded import EmbeddedCluster, embedded
from cove.engines.home import ClusterFolder, Settings
from cove.engines.snapshots import Snapshot, SnapshotError, Snapshots
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.store import CorruptStoreError

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
PODS = GVR("", "v1", "pods")


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]},
            },
        },
    }


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with embedded() as made:
        yield made


async def names(cluster: EmbeddedCluster) -> set[str]:
    listed = (await cluster.client.list(CONFIG_MAPS, "default")).items
    return {o["metadata"]["name"] for o in listed} - {"kube-root-ca.crt"}


async def test_a_cluster_comes_back_to_what_it_was(cluster: EmbeddedCluster) -> None:
    """Objects with their uids; the revisions go on, and older watches are too old."""
    client = cluster.client
    kept = await client.create(CONFIG_MAPS, config_map("kept", k="1"))
    await client.create(DEPLOYMENTS, deployment(2))
    await cluster.settle()
    snapshot = cluster.snapshot()
    await client.delete(CONFIG_MAPS, "kept", "default")
    late = await client.create(CONFIG_MAPS, config_map("late"))
    await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, "default")
    await cluster.settle()
    assert len((await client.list(PODS, "default")).items) == 5

    await cluster.restore(snapshot)

    assert await names(cluster) == {"kept"}
    assert await client.get(CONFIG_MAPS, "kept", "default") == kept
    assert len((await client.list(PODS, "default")).items) == 2
    after = (await client.list(CONFIG_MAPS)).resource_version
    assert int(after) > int(late["metadata"]["resourceVersion"])
    with pytest.raises(StatusError) as caught:
        async with client.watch(
            CONFIG_MAPS, resource_version=late["metadata"]["resourceVersion"]
        ) as events:
            await anext(events)
    assert caught.value.code == 410
    await client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "default")
    await cluster.clock.advance(5)
    assert len((await client.list(PODS, "default")).items) == 3


async def test_a_snapshot_in_a_file_is_anothers_too(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    await cluster.client.create(CONFIG_MAPS, config_map("a", text="ä" * 1000))
    snapshot = cluster.snapshot()
    snapshot.save(tmp_path / "s.db")
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o600
    loaded = Snapshot.load(tmp_path / "s.db")
    assert (loaded.revision, loaded.objects) == (snapshot.revision, snapshot.objects)
    async with embedded() as other:
        await other.restore(loaded)
        found = await other.client.get(CONFIG_MAPS, "a", "default")
    assert found == await cluster.client.get(CONFIG_MAPS, "a", "default")


async def test_a_restored_state_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was written just before and after it."""
    monkeypatch.setenv("COVE_HOME", str(tmp_path))
    folder = ClusterFolder("durable")
    folder.create()
    async with EmbeddedCluster("durable", Settings(), folder=folder) as cluster:
        await cluster.client.create(CONFIG_MAPS, config_map("kept"))
        snapshot = cluster.snapshot()
        await cluster.client.create(CONFIG_MAPS, config_map("gone"))
        await cluster.restore(snapshot)
        await cluster.client.create(CONFIG_MAPS, config_map("after"))
        revision = cluster.api.store.revision
    async with EmbeddedCluster("durable", Settings(), folder=folder) as cluster:
        assert await names(cluster) == {"kept", "after"}
        assert cluster.api.store.revision >= revision


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
async def test_what_is_no_snapshot_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(CorruptStoreError, match=str(path)):
        Snapshot.load(path)


def test_commands_save_list_restore_and_delete(cove: Cove) -> None:
    """While the cluster runs, and while it does not."""
    cove("up")
    value = ["get", "configmap", "a", "-o", "jsonpath={.data.k}"]
    cove.kubectl("create", "configmap", "a", "--from-literal=k=1")
    cove("snapshot", "save", "one")
    cove.kubectl("delete", "configmap", "a")
    cove.kubectl("create", "configmap", "a", "--from-literal=k=2")
    cove("down")
    cove("snapshot", "save", "two")
    rows = json.loads(cove("snapshot", "list", "-o", "json"))
    assert [row["name"] for row in rows] == ["one", "two"]
    assert all(row["size"] > 10_000 for row in rows)
    cove("snapshot", "restore", "one", "--yes")
    cove("up")
    assert cove.kubectl(*value) == "1"
    cove("snapshot", "restore", "two", "--yes")
    assert cove.kubectl(*value) == "2"
    cove("snapshot", "delete", "one")
    assert [row["name"] for row in json.loads(cove("snapshot", "list", "-o", "json"))] == ["two"]


def test_a_snapshot_that_cannot_be_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_HOME", str(tmp_path))
    folder = ClusterFolder("x")
    folder.create()
    snapshots = Snapshots(folder)
    with pytest.raises(SnapshotError, match=r'no snapshot "none"; it has: none'):
        snapshots.existing("none")
    with pytest.raises(SnapshotError, match="no name for a snapshot"):
        snapshots.vacant("../x")
    with pytest.raises(SnapshotError, match="nothing to save"):
        snapshots.save_stopped("a")
    snapshots.vacant("a").touch()
    with pytest.raises(SnapshotError, match="already"):
        snapshots.vacant("a")
