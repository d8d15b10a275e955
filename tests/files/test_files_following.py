"""What is looked at is followed: fresh at every look, bounded in memory, nothing polled."""

from __future__ import annotations

import asyncio
import errno
import tracemalloc
from typing import Any

import pytest
from files_world import CONFIG_MAPS, MAPS, PODS, Spy, config_map, names, pod, spying

from cove.engines.embedded import EmbeddedCluster
from cove.files import FileError, Tree
from cove.files.following import Change


async def changes(tree: Tree, wanted: int) -> list[Change]:
    """The next changes that the tree is told of by its watches."""
    told: list[Change] = []
    enough = asyncio.Event()

    def note(change: Change) -> None:
        told.append(change)
        if len(told) >= wanted:
            enough.set()

    tree.following.on_change.append(note)
    async with asyncio.timeout(10):
        await enough.wait()
    tree.following.on_change.remove(note)
    return told


# -- every listing is fresh


async def test_what_was_just_created_is_in_the_next_listing(
    api: EmbeddedCluster, tree: Tree
) -> None:
    """However soon after the answer to its creation; and what was deleted is not."""
    for number in range(20):
        await api.client.create(CONFIG_MAPS, config_map(f"m{number}"))
        assert f"m{number}" in await names(tree, MAPS)
    for number in range(20):
        await api.client.delete(CONFIG_MAPS, f"m{number}", "default")
        assert f"m{number}" not in await names(tree, MAPS)
        with pytest.raises(FileError) as raised:
            await tree.lookup(f"{MAPS}/m{number}/manifest.yaml")
        assert raised.value.errno == errno.ENOENT


async def test_a_watch_that_lags_does_not_hide_what_is_there(
    api: EmbeddedCluster, tree: Tree
) -> None:
    """The server's count is not ours: events that do not come are not waited for for long."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    assert "a" in await names(tree, MAPS)
    (followed,) = (f for f in tree.following._followed.values() if f.type.shown == "configmaps")
    followed.informer._apply = lambda batch: None  # type: ignore[method-assign]
    await api.client.create(CONFIG_MAPS, config_map("b"))
    assert {"a", "b"} <= {*await names(tree, MAPS)}


async def test_a_pod_that_terminates_is_there_as_long_as_the_server_has_it(
    api: EmbeddedCluster, tree: Tree
) -> None:
    """With its deletion said, until its end is confirmed."""
    await api.client.create(PODS, pod(nodeName="n"))
    folder = "/namespaces/default/pods"
    assert await names(tree, folder) == ["web"]
    await api.client.delete(PODS, "web", "default", grace=30)
    assert await names(tree, folder) == ["web"]
    await changed_to(tree, f"{folder}/web/describe.txt", b"Terminating")
    await api.client.delete(PODS, "web", "default", grace=0)
    assert await names(tree, folder) == []


async def changed_to(tree: Tree, path: str, text: bytes) -> None:
    """Return when a file has a text in it: the watch told."""
    async with asyncio.timeout(10):
        while text not in await tree.read(path):
            await asyncio.sleep(0)


async def test_siblings_come_from_one_get(api: EmbeddedCluster, tree: Tree, spy: Spy) -> None:
    """All files of an object, and looking at them, are one GET of it; after a listing, none."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    for entry in await tree.readdir(f"{MAPS}/a"):
        await tree.lookup(f"{MAPS}/a/{entry.name}")
        await tree.read(f"{MAPS}/a/{entry.name}")
    assert spy.paths("/configmaps/a") == ["/api/v1/namespaces/default/configmaps/a"]
    spy.sent.clear()
    await tree.readdir(MAPS)
    for file in ("manifest.yaml", "manifest.json", "status.yaml"):
        await tree.read(f"{MAPS}/a/{file}")
    assert spy.paths("/configmaps/a") == []


# -- watches


async def test_a_change_shows_at_once_and_nothing_is_polled(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """The watch tells it: after the change no request is sent, and none while nothing happens."""
    await api.client.create(CONFIG_MAPS, config_map("a", k="one"))
    await tree.readdir(MAPS)
    path = f"{MAPS}/a/manifest.yaml"
    assert b"k: one" in await tree.read(path)
    await watching(tree, "configmaps", "default")
    spy.sent.clear()
    told = asyncio.create_task(changes(tree, 1))
    await asyncio.sleep(0)
    await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "two"}}, "default")
    (change,) = await told
    assert (change.namespace, change.name, change.gone) == ("default", "a", False)
    assert b"k: two" in await tree.read(path)
    assert spy.sent == []


async def watching(tree: Tree, type_: str, namespace: str, name: str = "") -> None:
    """Return when a collection's watch is open."""
    async with asyncio.timeout(10):
        while not any(
            key[0].shown == type_ and key[1:] == (namespace, name) and f.informer.following
            for key, f in tree.following._followed.items()
        ):
            await asyncio.sleep(0)


async def test_a_single_object_is_followed_alone(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """Not all of its collection, which may be large; several of one are followed together."""
    for name in "abcdef":
        await api.client.create(CONFIG_MAPS, config_map(name, k="one"))
    path = f"{MAPS}/a/manifest.yaml"
    await tree.read(path)
    await watching(tree, "configmaps", "default", "a")
    assert ("configmaps", "default", "") not in tree.following.watched
    spy.sent.clear()
    told = asyncio.create_task(changes(tree, 1))
    await asyncio.sleep(0)
    await api.client.patch(CONFIG_MAPS, "a", {"data": {"k": "two"}}, "default")
    await told
    assert b"k: two" in await tree.read(path)
    assert spy.sent == []
    for name in "bcdef":
        await tree.read(f"{MAPS}/{name}/manifest.yaml")
    await watching(tree, "configmaps", "default")
    async with asyncio.timeout(10):
        while any(name for type_, _, name in tree.following.watched if type_ == "configmaps"):
            await asyncio.sleep(0)


async def test_a_watch_that_is_not_allowed_is_not_tried_again(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """Listings are fresh all the same: each asks."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await tree.readdir("/namespaces/default")
    inner = spy.stream

    def stream(method: str, path: str, **options: Any) -> Any:
        if "watch=true" in options.get("query", "") and path.endswith("/configmaps"):
            spy.answers = {path: 403}
        return inner(method, path, **options)

    spy.stream = stream  # type: ignore[method-assign]
    original = spy.request

    async def request(method: str, path: str, **options: Any) -> Any:
        spy.answers = {}
        return await original(method, path, **options)

    spy.request = request  # type: ignore[method-assign]
    assert "a" in await names(tree, MAPS)
    async with asyncio.timeout(10):
        while ("configmaps", "default", "") in tree.following.watched:
            await asyncio.sleep(0)
    await api.client.create(CONFIG_MAPS, config_map("b"))
    assert {"a", "b"} <= {*await names(tree, MAPS)}


# -- bounds


async def test_large_collections_are_read_in_pages(
    api: EmbeddedCluster, tree: Tree, spy: Spy
) -> None:
    """None of them is there whole as one answer."""
    for number in range(1203):
        await api.client.create(CONFIG_MAPS, config_map(f"m{number}"))
    assert len(await names(tree, MAPS)) >= 1203
    lists = [s.query for s in spy.sent if s.path.endswith("/configmaps") and "watch" not in s.query]
    assert len(lists) == 3
    assert all("limit=500" in query for query in lists)


async def test_watches_are_bounded(api: EmbeddedCluster) -> None:
    """The ones used longest ago are given up; looking again follows again."""
    async with spying(api, watches=3) as (tree, _):
        folders = [
            "clusterroles",
            "clusterrolebindings",
            "apiservices",
            "flowschemas",
            "namespaces",
        ]
        for folder in folders:
            await tree.readdir(f"/cluster/{folder}")
        assert [type_ for type_, _, _ in tree.following.watched] == folders[-3:]
        assert "admin" in await names(tree, "/cluster/clusterroles")
        assert "clusterroles" in [type_ for type_, _, _ in tree.following.watched]


async def test_objects_in_memory_are_bounded(api: EmbeddedCluster) -> None:
    """Collections are given up for others; the one that is looked at stays."""
    for number in range(60):
        await api.client.create(CONFIG_MAPS, config_map(f"m{number}"))
    async with spying(api, objects=70) as (tree, _):
        await tree.readdir(MAPS)
        await tree.readdir("/cluster/clusterroles")
        assert [type_ for type_, _, _ in tree.following.watched] == ["clusterroles"]


async def test_what_nobody_looks_at_is_given_up(api: EmbeddedCluster) -> None:
    await api.client.create(CONFIG_MAPS, config_map("a"))
    async with spying(api) as (tree, _):
        tree.following._idle = 0.05
        await tree.readdir(MAPS)
        assert ("configmaps", "default", "") in tree.following.watched
        async with asyncio.timeout(10):
            while tree.following.watched:
                await asyncio.sleep(0.01)
        assert "a" in await names(tree, MAPS)


async def test_an_empty_collection_is_not_followed(api: EmbeddedCluster, tree: Tree) -> None:
    """A walk over all types of all namespaces leaves no watch for each."""
    for entry in await tree.readdir("/namespaces/kube-public"):
        await tree.readdir(f"/namespaces/kube-public/{entry.name}")
    assert {(t, n) for t, n, _ in tree.following.watched} <= {
        ("namespaces", ""),
        ("configmaps", "kube-public"),
        ("serviceaccounts", "kube-public"),
        ("roles", "kube-public"),
        ("rolebindings", "kube-public"),
    }


async def test_an_object_in_memory_is_its_json(api: EmbeddedCluster, tree: Tree) -> None:
    """Some kilobytes, not the tens that a decoded document takes."""
    for number in range(400):
        await api.client.create(CONFIG_MAPS, config_map(f"m{number}", text="x" * 1000))
    await tree.readdir("/namespaces/default")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await tree.readdir(MAPS)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 400 < 10 * 1024


async def test_the_kernel_is_told_before_the_tree_answers_otherwise(
    api: EmbeddedCluster, tree: Tree
) -> None:
    """Changes are told with what they are of: created, changed, gone."""
    await tree.readdir("/cluster/clusterroles")
    await api.client.create(CONFIG_MAPS, config_map("a"))
    await tree.readdir(MAPS)
    await watching(tree, "configmaps", "default")
    told = asyncio.create_task(changes(tree, 3))
    await asyncio.sleep(0)
    await api.client.create(CONFIG_MAPS, config_map("b"))
    await api.client.patch(CONFIG_MAPS, "b", {"data": {"k": "w"}}, "default")
    await api.client.delete(CONFIG_MAPS, "b", "default")
    assert [(c.name, c.gone) for c in await told] == [("b", False), ("b", False), ("b", True)]


async def test_nothing_is_left_when_a_tree_is_closed(api: EmbeddedCluster) -> None:
    """No task, whatever was under way."""
    before = asyncio.all_tasks()
    async with spying(api) as (tree, _):
        await tree.readdir("/cluster/clusterroles")
        await tree.lookup("/cluster/namespaces/default")
        reading = asyncio.create_task(tree.read(f"{MAPS}/kube-root-ca.crt/manifest.yaml"))
        await asyncio.sleep(0)
    with pytest.raises((FileError, asyncio.CancelledError)):
        await reading
    await asyncio.sleep(0)
    ours = {t for t in asyncio.all_tasks() - before if "follow" in t.get_name()}
    assert ours == set()
