"""A tree of a real API server: layout, contents, errors, labels, history; nothing but GET."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from typing import Any

import pytest
import yaml
from files_world import (
    CONFIG_MAPS,
    EVENTS,
    MAPS,
    NAMESPACES,
    PODS,
    SECRETS,
    Spy,
    config_map,
    names,
    pod,
    spying,
)
from tests.conftest import Kubectl

from cove.engines.embedded import EmbeddedCluster
from cove.files import FileError, Tree
from cove.files.documents import HIDDEN, inode
from cove.kube.status import StatusError


async def failing(tree: Tree, path: str) -> FileError:
    """The error that a path is answered with."""
    with pytest.raises(FileError) as raised:
        await tree.lookup(path)
    return raised.value


# -- layout


async def test_the_layout(api: EmbeddedCluster, tree: Tree) -> None:
    """Namespaced objects, pods with logs, the cluster's own objects, two views."""
    await api.client.create(PODS, pod())
    assert await names(tree, "/") == ["namespaces", "cluster", "by-label", "history"]
    assert "default" in await names(tree, "/namespaces")
    assert {"pods", "configmaps", "deployments"} <= {*await names(tree, "/namespaces/default")}
    common = ["manifest.yaml", "manifest.json", "status.yaml", "describe.txt"]
    assert await names(tree, "/namespaces/default/pods") == ["web"]
    assert await names(tree, "/namespaces/default/pods/web") == [*common, "events.txt", "logs"]
    assert await names(tree, "/namespaces/default/pods/web/logs") == ["main.log"]
    assert await names(tree, "/cluster/namespaces/default") == common
    assert {"namespaces", "nodes", "clusterroles"} <= {*await names(tree, "/cluster")}


async def test_scopes_are_apart(tree: Tree) -> None:
    """Namespaces are objects of the cluster, pods are not."""
    assert "default" in await names(tree, "/cluster/namespaces")
    assert "namespaces" not in await names(tree, "/namespaces/default")
    assert (await failing(tree, "/cluster/pods")).errno == errno.ENOENT
    assert (await failing(tree, "/namespaces/default/nodes")).errno == errno.ENOENT


async def test_everything_that_is_listed_is_there(api: EmbeddedCluster, tree: Tree) -> None:
    """What a listing tells of an entry is what a look at it tells."""
    await api.client.create(PODS, pod())
    pending, seen = ["/"], 0
    while pending:
        folder = pending.pop()
        for entry in await tree.readdir(folder):
            path = f"{folder.rstrip('/')}/{entry.name}"
            attributes = await tree.lookup(path)
            assert (attributes.kind, attributes.inode) == (entry.kind, entry.inode), path
            assert entry.attributes in (None, attributes), path
            seen += 1
            if entry.kind == "directory" and not path.startswith(
                ("/cluster/", "/history/cluster/")
            ):
                pending.append(path)
    assert seen > 200


# -- contents


@pytest.mark.requires("kubectl")
async def test_a_manifest_is_what_kubectl_gets(api: EmbeddedCluster, tree: Tree) -> None:
    """Of objects that kubectl applied: as JSON and as YAML, read as they were listed or singly."""
    kubectl = Kubectl(api.kubeconfig_path)
    applied = {"apiVersion": "v1", "kind": "ConfigMap", **config_map("a", on="yes", n="1e3")}
    await kubectl("apply", "-f", "-", stdin=json.dumps(applied))
    await kubectl("create", "deployment", "web", "--image=registry.example.com/app:1")
    await kubectl("create", "clusterrole", "team:reader", "--verb=get", "--resource=pods")
    for kind, name, folder in (
        ("configmap", "a", MAPS),
        ("deployment", "web", "/namespaces/default/deployments"),
        ("clusterrole", "team:reader", "/cluster/clusterroles"),
    ):
        wanted = json.loads(await kubectl("get", kind, name, "-o", "json"))
        for listed in (False, True):
            if listed:
                await tree.readdir(folder)
            assert json.loads(await tree.read(f"{folder}/{name}/manifest.json")) == wanted
            assert yaml.safe_load(await tree.read(f"{folder}/{name}/manifest.yaml")) == wanted
            status = yaml.safe_load(await tree.read(f"{folder}/{name}/status.yaml"))
            assert status == wanted.get("status")
    manifest = json.loads(await tree.read(f"{MAPS}/a/manifest.json"))
    assert "kubectl.kubernetes.io/last-applied-configuration" in manifest["metadata"]["annotations"]
    assert "managedFields" not in manifest["metadata"]


async def test_sizes_are_exact(api: EmbeddedCluster, tree: Tree) -> None:
    """Of every file, in bytes, not characters; and ranges are parts of the whole."""
    await api.client.create(CONFIG_MAPS, config_map("a", text="é😀\n" * 1000))
    for entry in await tree.readdir(f"{MAPS}/a"):
        path = f"{MAPS}/a/{entry.name}"
        whole = await tree.read(path)
        assert (await tree.lookup(path)).size == len(whole), path
        assert await tree.read(path, 3, 20) == whole[3:23]
        assert await tree.read(path, len(whole), 20) == b""


async def test_a_large_object(api: EmbeddedCluster, tree: Tree, spy: Spy) -> None:
    """The largest ConfigMap that the server takes, and one of five megabytes from another."""
    await api.client.create(CONFIG_MAPS, config_map("a", text="x" * 1_000_000))
    assert b"x" * 1_000_000 in await tree.read(f"{MAPS}/a/manifest.yaml")
    large = {
        **config_map("large", text="0123456789abcde\n" * 330_000),
        "apiVersion": "v1",
        "kind": "ConfigMap",
    }
    spy.answers["/api/v1/namespaces/default/configmaps/large"] = large
    data = await tree.read(f"{MAPS}/large/manifest.json")
    assert len(data) > 5 * 1024 * 1024
    assert json.loads(data)["data"] == large["data"]
    assert (await tree.lookup(f"{MAPS}/large/manifest.json")).size == len(data)


async def test_an_open_file_stays_what_it_was(api: EmbeddedCluster, tree: Tree) -> None:
    """Changed or deleted: who has it open reads one version to its end."""
    await api.client.create(CONFIG_MAPS, config_map("a", k="first"))
    before = await tree.read(f"{MAPS}/a/manifest.yaml")
    file = await tree.open(f"{MAPS}/a/manifest.yaml")
    half = await file.read(0, 20)
    await api.client.delete(CONFIG_MAPS, "a", "default")
    assert half + await file.read(20, 1 << 20) == before
    await file.close()


async def test_a_directory_is_no_file_and_a_file_no_directory(
    api: EmbeddedCluster, tree: Tree
) -> None:
    await api.client.create(CONFIG_MAPS, config_map("a"))
    for path, work, code in (
        (MAPS, tree.open, errno.EISDIR),
        (f"{MAPS}/a", tree.open, errno.EISDIR),
        (f"{MAPS}/a/manifest.yaml", tree.readdir, errno.ENOTDIR),
        (f"{MAPS}/a/manifest.yaml", tree.readlink, errno.EINVAL),
    ):
        with pytest.raises(FileError) as raised:
            await work(path)
        assert raised.value.errno == code


# -- secrets


async def test_secrets_are_told_only_who_asks(api: EmbeddedCluster) -> None:
    """Neither a file nor an older version of one has a value, unless asked for."""
    secret = {"metadata": {"name": "s", "namespace": "default"}, "stringData": {"p": "hunter2"}}
    await api.client.create(SECRETS, secret)
    folder = "/namespaces/default/secrets/s"
    for allowed in (False, True):
        async with spying(api, secrets=allowed) as (tree, _):
            told = {
                e.name: await tree.read(f"{folder}/{e.name}") for e in await tree.readdir(folder)
            }
            for entry in await tree.readdir(f"/history{folder}"):
                told[entry.name] = await tree.read(f"/history{folder}/{entry.name}")
            assert b"7 bytes" in told.pop("describe.txt")
            manifest = json.loads(told["manifest.json"])
            assert manifest["data"]["p"] == ("aHVudGVyMg==" if allowed else HIDDEN)
            assert any(b"aHVudGVyMg" in text for text in told.values()) is allowed


# -- times, inodes, attributes


async def test_times_inodes_and_attributes_are_the_objects(
    api: EmbeddedCluster, tree: Tree
) -> None:
    """The time of the last write, inodes of the uid, uid and resourceVersion as attributes."""
    made = await api.client.create(CONFIG_MAPS, config_map("a"))
    first = await tree.lookup(f"{MAPS}/a")
    await api.clock.advance(3600)
    patched = await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "w"}}, "default")
    await tree.readdir(MAPS)
    second = await tree.lookup(f"{MAPS}/a")
    assert second.inode == first.inode == inode(made["metadata"]["uid"])
    assert 3600 <= (second.mtime - first.mtime) / 10**9 < 3700
    assert (await tree.lookup(f"{MAPS}/a/manifest.yaml")).mtime == second.mtime
    wanted = {
        "user.kubernetes.uid": made["metadata"]["uid"].encode(),
        "user.kubernetes.resourceVersion": patched["metadata"]["resourceVersion"].encode(),
    }
    assert await tree.xattrs(f"{MAPS}/a") == wanted
    assert await tree.xattrs(f"{MAPS}/a/status.yaml") == wanted
    assert await tree.xattrs(MAPS) == {}
    assert "user.kubernetes.uid" in await tree.xattrs("/namespaces/default")
    assert (await tree.lookup("/namespaces/default")).mtime > 10**18


async def test_a_namesake_has_another_inode(api: EmbeddedCluster, tree: Tree) -> None:
    """Deleted and made again is another file; seen from another mount it is the same."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    first = (await tree.lookup(f"{MAPS}/a/manifest.yaml")).inode
    async with spying(api) as (other, _):
        assert (await other.lookup(f"{MAPS}/a/manifest.yaml")).inode == first
    await api.client.delete(CONFIG_MAPS, "a", "default")
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await tree.readdir(MAPS)
    assert (await tree.lookup(f"{MAPS}/a/manifest.yaml")).inode != first


# -- events


async def make_event(
    api: EmbeddedCluster, name: str, involved: dict[str, Any], **more: Any
) -> None:
    doc = {
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"namespace": "default", **involved},
        "reason": name.title(),
        "message": f"it\nis {name}",
        "type": "Normal",
        **more,
    }
    await api.client.create(EVENTS, doc)


async def test_events_are_those_of_the_object_alone(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """Not a namesake's of another kind, nor those of an earlier object of that name."""
    made = await api.client.create(CONFIG_MAPS, config_map("a"))
    uid = made["metadata"]["uid"]
    mine = {"kind": "ConfigMap", "name": "a", "uid": uid}
    await make_event(api, "mine", mine, count=3, lastTimestamp="2024-01-01T00:00:00Z")
    await make_event(api, "namesake", {**mine, "kind": "Pod"})
    await make_event(api, "earlier", {**mine, "uid": "another"})
    await make_event(api, "other", {**mine, "name": "b"})
    lines = (await tree.read(f"{MAPS}/a/events.txt")).decode().splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["2024-01-01T00:00:00Z", "3", "Normal", "Mine", "it", "is", "mine"]
    assert "Mine" in (await tree.read(f"{MAPS}/a/describe.txt")).decode()
    (asked,) = (s.query for s in spy.sent if s.path.endswith("/events"))
    assert f"involvedObject.uid%3D{uid}" in asked


async def test_nothing_happened(api: EmbeddedCluster, tree: Tree) -> None:
    await api.client.create(CONFIG_MAPS, config_map("a"))
    assert await tree.read(f"{MAPS}/a/events.txt") == b"No events.\n"


# -- labels and history


async def test_objects_by_label(api: EmbeddedCluster, tree: Tree) -> None:
    """Keys with prefixes, empty values; links lead to the objects; what is not so, is not there."""
    labels = {"app": "web", "app.kubernetes.io/name": ""}
    for name in ("a", "b"):
        doc = config_map(name)
        doc["metadata"]["labels"] = labels if name == "a" else {"app": "web"}
        await api.client.create(CONFIG_MAPS, doc)
    top = f"/by-label{MAPS}"
    assert await names(tree, top) == ["app", "app.kubernetes.io:name"]
    assert await names(tree, f"{top}/app") == ["web"]
    assert await names(tree, f"{top}/app/web") == ["a", "b"]
    assert await names(tree, f"{top}/app.kubernetes.io:name/_") == ["a"]
    target = await tree.readlink(f"{top}/app/web/a")
    assert os.path.normpath(f"{top}/app/web/{target}") == f"{MAPS}/a"
    assert (await tree.lookup(f"{top}/app/web/a")).kind == "link"
    for missing in ("nope", "app/nope", "app/web/c", "app.kubernetes.io:name/_/b"):
        assert (await failing(tree, f"{top}/{missing}")).errno == errno.ENOENT
    await api.client.patch(CONFIG_MAPS, "b", {"metadata": {"labels": {"app": "db"}}}, "default")
    await api.client.create(
        CONFIG_MAPS,
        {
            **config_map("c"),
            "metadata": {"name": "c", "namespace": "default", "labels": {"new": "1"}},
        },
    )
    assert "new" in await names(tree, top)
    assert await names(tree, f"{top}/app") == ["db", "web"]
    assert await names(tree, f"{top}/app/web") == ["a"]


async def test_versions_of_an_object_are_files(api: EmbeddedCluster, tree: Tree) -> None:
    """Each as it was written and when; also of what is gone."""
    made = await api.client.create(CONFIG_MAPS, config_map("a", k="1"))
    await api.clock.advance(60)
    changed = await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "2"}}, "default")
    top = f"/history{MAPS}"
    first, second = (f"{o['metadata']['resourceVersion']}.yaml" for o in (made, changed))
    assert await names(tree, f"{top}/a") == [first, second]
    old = yaml.safe_load(await tree.read(f"{top}/a/{first}"))
    assert old["data"] == {"k": "1"}
    assert old["kind"] == "ConfigMap"
    assert "managedFields" not in old["metadata"]
    times = [(await tree.lookup(f"{top}/a/{file}")).mtime for file in (first, second)]
    assert 60 <= (times[1] - times[0]) / 10**9 < 70
    size = (await tree.lookup(f"{top}/a/{first}")).size
    assert size == len(await tree.read(f"{top}/a/{first}"))
    version = made["metadata"]["resourceVersion"].encode()
    assert (await tree.xattrs(f"{top}/a/{first}"))["user.kubernetes.resourceVersion"] == version
    await api.client.delete(CONFIG_MAPS, "a", "default")
    async with spying(api) as (later, _):
        assert (await failing(later, f"{MAPS}/a")).errno == errno.ENOENT
        assert "a" in await names(later, top)
        assert (await names(later, f"{top}/a"))[-1].endswith(".deleted.yaml")
        assert (await failing(later, f"{top}/never")).errno == errno.ENOENT


async def test_servers_without_history_have_none(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """Any other API server answers that there is no such path."""
    spy.answers["/cove/history"] = 404
    assert await names(tree, "/") == ["namespaces", "cluster", "by-label"]
    assert (await failing(tree, "/history")).errno == errno.ENOENT
    assert (await failing(tree, f"/history{MAPS}")).errno == errno.ENOENT


# -- errors


CODES = [
    (400, errno.EINVAL),
    (401, errno.EACCES),
    (403, errno.EACCES),
    (404, errno.ENOENT),
    (405, errno.EINVAL),
    (409, errno.EINVAL),
    (413, errno.EFBIG),
    (422, errno.EINVAL),
    (429, errno.EAGAIN),
    (500, errno.EIO),
    (503, errno.EIO),
    (504, errno.EIO),
    (None, errno.EIO),
]


@pytest.mark.parametrize(("answer", "code"), CODES)
async def test_what_a_server_answers_is_an_errno(
    tree: Tree, spy: Spy, answer: int | None, code: int
) -> None:
    """For an object and for a collection; None is no answer at all."""
    await tree.readdir("/namespaces/default")
    spy.answers["/api/v1/namespaces/default/configmaps"] = answer
    assert (await failing(tree, f"{MAPS}/a/manifest.yaml")).errno == code
    with pytest.raises(FileError) as raised:
        await tree.readdir(MAPS)
    assert raised.value.errno == code
    assert isinstance(raised.value, OSError)
    assert raised.value.filename == MAPS


async def test_a_client_that_waits_too_long_is_told_so(tree: Tree, spy: Spy) -> None:
    """As the network's other troubles: EIO, with the reason."""
    await tree.readdir("/namespaces/default")
    spy.answers["/api/v1/namespaces/default/configmaps/a"] = None
    error = await failing(tree, f"{MAPS}/a")
    assert error.errno == errno.EIO
    assert "refused" in str(error)


MISSING = [
    "/namespaces/nope",
    "/namespaces/nope/pods",
    "/namespaces/default/nope",
    "/namespaces/default/nope.example.com",
    "/namespaces/default/pods/nope",
    "/namespaces/default/pods/nope/manifest.yaml",
    "/namespaces/default/pods/nope/logs",
    "/cluster/nodes/nope",
    "/cluster/nope",
]


@pytest.mark.parametrize("path", MISSING)
async def test_what_is_not_there_is_not_there(tree: Tree, path: str) -> None:
    """Objects, types and scopes; files and directories alike."""
    assert (await failing(tree, path)).errno == errno.ENOENT
    with pytest.raises(FileError) as raised:
        await tree.readdir(path)
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a%2f", "a?x=y", "a#b", "a\nb", "a\x1fb"], ids=ascii
)
async def test_no_name_reaches_the_server_as_something_else(
    tree: Tree, spy: Spy, name: str
) -> None:
    """Refused before anything is sent."""
    if name:
        assert (await failing(tree, f"{MAPS}/{name}/manifest.yaml")).errno == errno.ENOENT
        assert spy.sent == []
    else:
        assert await tree.lookup("/namespaces//") == await tree.lookup("/namespaces")


async def test_names_may_have_colons(api: EmbeddedCluster, tree: Tree) -> None:
    """As roles have, and reach the server as they are."""
    folder = "/cluster/clusterroles"
    assert "system:node" in await names(tree, folder)
    assert b"name: system:node\n" in await tree.read(f"{folder}/system:node/manifest.yaml")


async def test_a_namespace_that_ends_is_there_until_it_is_gone(api: EmbeddedCluster) -> None:
    """Terminating, with what is still in it."""
    doc = {"metadata": {"name": "ending"}, "spec": {"finalizers": ["kubernetes"]}}
    await api.client.create(NAMESPACES, doc)
    await api.client.create(CONFIG_MAPS, config_map("a", "ending"))
    async with spying(api) as (tree, _):
        await tree.readdir("/namespaces")
        await api.client.delete(NAMESPACES, "ending")
        assert "ending" in await names(tree, "/namespaces")
        assert "a" in await names(tree, "/namespaces/ending/configmaps")
        status = await tree.read("/cluster/namespaces/ending/status.yaml")
        assert b"phase: Terminating" in status
        assert b"Terminating" in await tree.read("/cluster/namespaces/ending/describe.txt")
        await api.client.delete(CONFIG_MAPS, "a", "ending")
        ended = {"metadata": {"name": "ending"}, "spec": {"finalizers": []}}
        await api.client.update(NAMESPACES, ended, subresource="finalize")
        assert "ending" not in await names(tree, "/namespaces")
        assert (await failing(tree, "/namespaces/ending")).errno == errno.ENOENT


# -- limits and rights


async def test_only_the_namespaces_that_were_asked_for(api: EmbeddedCluster) -> None:
    """Those of them that exist; the cluster's own objects stay."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    async with spying(api, namespaces=["default", "nope"]) as (tree, _):
        assert await names(tree, "/namespaces") == ["default"]
        assert await names(tree, "/by-label/namespaces") == ["default"]
        assert "a" in await names(tree, MAPS)
        for path in ("", "/configmaps", "/configmaps/kube-root-ca.crt"):
            assert (await failing(tree, f"/namespaces/kube-system{path}")).errno == errno.ENOENT
        assert (await failing(tree, "/history/namespaces/kube-system")).errno == errno.ENOENT
        assert "kube-system" in await names(tree, "/cluster/namespaces")


async def test_who_may_not_list_namespaces_may_look_into_them(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """Rights in a namespace are no rights to namespaces."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await tree.types.listed(namespaced=True)

    class Forbidden(Spy):
        def _answer(self, path: str) -> Any:
            parts = path.split("/")
            if parts[:4] == ["", "api", "v1", "namespaces"] and len(parts) <= 5:
                self.answers = {path: 403}
                return super()._answer(path)
            return None

    spy.__class__ = Forbidden
    with pytest.raises(FileError) as raised:
        await tree.readdir("/namespaces")
    assert raised.value.errno == errno.EACCES
    assert "a" in await names(tree, MAPS)
    assert b"k: v" in await tree.read(f"{MAPS}/a/manifest.yaml")


async def test_who_may_not_list_may_read(api: EmbeddedCluster, tree: Tree, spy: Spy) -> None:
    """Objects are got one by one, each once for its files."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await tree.readdir("/namespaces/default")
    inner = spy._answer

    def answer(path: str) -> Any:
        spy.answers = {path: 403} if path.endswith("/configmaps") else {}
        return inner(path)

    spy._answer = answer  # type: ignore[method-assign]
    for file in ("manifest.yaml", "manifest.json", "status.yaml"):
        await tree.read(f"{MAPS}/a/{file}")
    assert spy.paths("/configmaps/a") == ["/api/v1/namespaces/default/configmaps/a"]
    with pytest.raises(FileError) as raised:
        await tree.readdir(MAPS)
    assert raised.value.errno == errno.EACCES


# -- read-only


async def test_nothing_but_get_leaves_the_process(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """Whatever is read; and a bug could not change that."""
    await api.client.create(PODS, pod(nodeName="n"))
    pending = [
        "/namespaces/default",
        "/by-label/namespaces/default/pods",
        "/history/namespaces/default/pods",
    ]
    while pending:
        folder = pending.pop()
        for entry in await tree.readdir(folder):
            path = f"{folder}/{entry.name}"
            if entry.kind == "directory":
                pending.append(path)
            elif entry.kind == "file":
                await tree.read(path)
    assert len(spy.sent) > 50
    assert {s.method for s in spy.sent} == {"GET"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(PermissionError, match="only read"):
            await tree._client.request(method, "/api/v1/namespaces/default/pods/web")
    assert {s.method for s in spy.sent} == {"GET"}


async def test_many_at_once_share_what_is_asked(api: EmbeddedCluster, tree: Tree, spy: Spy) -> None:
    """A hundred readers of one object are one GET."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    read = await asyncio.gather(*(tree.read(f"{MAPS}/a/manifest.yaml") for _ in range(100)))
    assert len({*read}) == 1
    assert len(spy.paths("/configmaps/a")) == 1


async def test_who_is_cancelled_leaves_the_others_their_answer(
    api: EmbeddedCluster, tree: Tree
) -> None:
    await api.client.create(CONFIG_MAPS, config_map("a"))
    one = asyncio.create_task(tree.read(f"{MAPS}/a/manifest.yaml"))
    two = asyncio.create_task(tree.read(f"{MAPS}/a/manifest.yaml"))
    await asyncio.sleep(0)
    one.cancel()
    assert b"k: v" in await two
    with pytest.raises(asyncio.CancelledError):
        await one


def test_errors_say_path_and_reason() -> None:
    """For a person: what was accessed, how it failed, and why in the server's words."""
    from cove.files.errors import file_error

    error = file_error(StatusError(403, "Forbidden", "may not"), "/cluster/nodes")
    assert str(error) == "/cluster/nodes: Permission denied (may not)"
    assert file_error(error, "/elsewhere") is error
