"""Types: what a server serves, as it is now, whoever of them does not answer."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from files_world import CONFIG_MAPS, CRDS, Spy, config_map, definition, names, spying

from cove.engines.embedded import EmbeddedCluster
from cove.files import FileError, Tree
from cove.kube.gvk import GVR

SCOPE = "/namespaces/default"
WIDGETS = GVR("example.com", "v1", "widgets")


def resource(
    name: str, kind: str, *, verbs: str = "get list watch", namespaced: bool = True
) -> Any:
    return {"name": name, "kind": kind, "namespaced": namespaced, "verbs": verbs.split()}


def group(name: str, *versions: str, preferred: str = "") -> dict[str, Any]:
    served = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    chosen = preferred or versions[0]
    return {
        "name": name,
        "versions": served,
        "preferredVersion": {"groupVersion": f"{name}/{chosen}", "version": chosen},
    }


def older(spy: Spy, *groups: dict[str, Any], **lists: list[Any]) -> None:
    """Answer as a server does that knows no aggregated discovery.

    ``lists`` are the resources by group and version, ``a_example__v1`` for ``a.example/v1``.
    """
    for name, resources in lists.items():
        api_group, _, version = name.partition("__")
        path = f"/apis/{api_group.replace('_', '.')}/{version}"
        spy.answers[path] = {"kind": "APIResourceList", "resources": resources}
    spy.answers["/api/v1/namespaces"] = {"metadata": {"name": "default", "uid": "u"}, "items": []}
    spy.answers["/api/v1"] = {
        "kind": "APIResourceList",
        "resources": [
            resource("pods", "Pod"),
            resource("pods/log", "Pod", verbs="get"),
            resource("bindings", "Binding", verbs="create"),
            resource("secrets", "Secret", verbs="list"),
            resource("nodes", "Node", namespaced=False),
        ],
    }
    spy.answers["/apis"] = {"kind": "APIGroupList", "groups": list(groups)}
    spy.answers["/api"] = {"kind": "APIVersions", "versions": ["v1"]}
    # The longest path first: an answer is for all that begin so.
    spy.answers = dict(sorted(spy.answers.items(), key=lambda item: -len(item[0])))


async def types(tree: Tree, *, namespaced: bool = True) -> list[str]:
    return [t.shown for t in await tree.types.listed(namespaced=namespaced)]


async def test_what_can_be_read_and_listed_is_shown(tree: Tree, spy: Spy) -> None:
    """Subresources, and what cannot be got or listed, are left out; scopes are apart."""
    older(spy)
    assert await types(tree) == ["pods"]
    assert await types(tree, namespaced=False) == ["nodes"]


async def test_the_preferred_version_is_the_one(tree: Tree, spy: Spy) -> None:
    """The first that has a plural wins; one that only another version has is there, too."""
    older(
        spy,
        group("a.example", "v1beta1", "v1", "v2alpha1", preferred="v1"),
        a_example__v1=[resource("cats", "Cat")],
        a_example__v1beta1=[resource("cats", "Cat"), resource("dogs", "Dog")],
        a_example__v2alpha1=[resource("dogs", "Dog"), resource("cats", "Cat")],
    )
    found = {t.shown: t.gvr.version for t in await tree.types.listed(namespaced=True)}
    assert found == {"pods": "v1", "cats": "v1", "dogs": "v1beta1"}


async def test_all_group_versions_are_asked_together(tree: Tree, spy: Spy) -> None:
    """None waits for another's answer."""
    groups = [group(f"g{i}.example", "v1") for i in range(6)]
    older(spy, *groups, **{f"g{i}_example__v1": [] for i in range(6)})
    inside, most, all_here = 0, 0, asyncio.Event()
    request = spy.request

    async def slow(method: str, path: str, **options: Any) -> Any:
        nonlocal inside, most
        if path.startswith("/apis/"):
            inside += 1
            most = max(most, inside)
            if inside == 6:
                all_here.set()
            async with asyncio.timeout(5):
                await all_here.wait()
        return await request(method, path, **options)

    spy.request = slow  # type: ignore[method-assign]
    await types(tree)
    assert most == 6


async def test_the_same_plural_in_two_groups(api: EmbeddedCluster) -> None:
    """Is shown with its group; both forms resolve, the plain one to the first."""
    for name in ("example.com", "example.org"):
        await api.client.create(CRDS, definition("widgets", name, "Widget"))
    await established(api, "widgets.example.com", "widgets.example.org")
    doc = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "default"},
    }
    await api.client.create(WIDGETS, doc)
    async with spying(api) as (tree, _):
        shown = [name for name in await names(tree, SCOPE) if name.startswith("widgets")]
        assert shown == ["widgets.example.com", "widgets.example.org"]
        assert await names(tree, f"{SCOPE}/widgets.example.com") == ["w"]
        assert await names(tree, f"{SCOPE}/widgets") == ["w"]
        assert await names(tree, f"{SCOPE}/widgets.example.org") == []
        assert (await tree.lookup(f"{SCOPE}/widgets/w")).inode == (
            await tree.lookup(f"{SCOPE}/widgets.example.com/w")
        ).inode
        assert "deployments" in await names(tree, SCOPE)
        assert await names(tree, f"{SCOPE}/deployments.apps") == []


async def established(api: EmbeddedCluster, *crds: str) -> None:
    """Return when CRDs are served."""
    for name in crds:
        async with asyncio.timeout(10):
            async with api.client.watch(CRDS, field_selector=f"metadata.name={name}") as events:
                async for event in events:
                    conditions = event.object.get("status", {}).get("conditions", ())
                    if any(
                        c["type"] == "Established" and c["status"] == "True" for c in conditions
                    ):
                        break


async def test_a_crd_appears_and_goes_while_it_is_looked_at(
    api: EmbeddedCluster, tree: Tree
) -> None:
    """Without anybody asking for it anew."""
    assert "widgets" not in await names(tree, SCOPE)
    await api.client.create(CRDS, definition("widgets", "example.com", "Widget"))
    await established(api, "widgets.example.com")
    assert "widgets" in await names(tree, SCOPE)
    await api.client.create(
        WIDGETS,
        {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w", "namespace": "default"},
            "spec": {"size": 3},
        },
    )
    assert await names(tree, f"{SCOPE}/widgets") == ["w"]
    assert b"size: 3" in await tree.read(f"{SCOPE}/widgets/w/manifest.yaml")
    await api.client.delete(CRDS, "widgets.example.com")
    async with asyncio.timeout(10):
        while "widgets" in await names(tree, SCOPE):
            await asyncio.sleep(0)
    with pytest.raises(FileError) as raised:
        await tree.readdir(f"{SCOPE}/widgets")
    assert raised.value.errno == errno.ENOENT


async def test_a_type_is_found_before_it_was_listed(api: EmbeddedCluster, tree: Tree) -> None:
    """By a path alone; and one that was not known is looked for again."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    assert b"k: v" in await tree.read(f"{SCOPE}/configmaps/a/manifest.yaml")
    await api.client.create(CRDS, definition("widgets", "example.com", "Widget"))
    await established(api, "widgets.example.com")
    assert (await tree.lookup(f"{SCOPE}/widgets")).kind == "directory"


@pytest.mark.parametrize("path", ["/api", "/apis"])
@pytest.mark.parametrize(("answer", "code"), [(None, errno.EIO), (403, errno.EACCES)])
async def test_a_root_that_fails_is_an_error_and_not_remembered(
    tree: Tree, spy: Spy, path: str, answer: int | None, code: int
) -> None:
    """Nothing is known then; the next who asks may be luckier."""
    await tree.lookup("/namespaces/default")
    spy.answers[path] = answer
    spy.answers = {path: answer}
    request = spy._answer
    spy._answer = lambda asked: request(asked) if asked == path else None  # type: ignore[method-assign]
    for work in (tree.readdir(SCOPE), tree.lookup(f"{SCOPE}/pods")):
        with pytest.raises(FileError) as raised:
            await work
        assert raised.value.errno == code
    spy.answers.clear()
    assert "pods" in await names(tree, SCOPE)


async def test_a_group_that_fails_hides_nobody_else(tree: Tree, spy: Spy) -> None:
    """Its names give its error, not "no such file"; it is asked again, and may recover."""
    older(
        spy,
        group("down.example", "v1"),
        group("up.example", "v1"),
        up_example__v1=[resource("cats", "Cat")],
        down_example__v1=[],
    )
    spy.answers["/apis/down.example/v1"] = 503
    assert await types(tree) == ["cats", "pods"]
    for name, code in (
        ("dogs", errno.EIO),
        ("dogs.down.example", errno.EIO),
        ("dogs.up.example", errno.ENOENT),
    ):
        with pytest.raises(FileError) as raised:
            await tree.lookup(f"{SCOPE}/{name}")
        assert raised.value.errno == code, name
    assert (await tree.lookup(f"{SCOPE}/cats")).kind == "directory"
    spy.answers["/apis/down.example/v1"] = {
        "kind": "APIResourceList",
        "resources": [resource("dogs", "Dog")],
    }
    assert (await tree.lookup(f"{SCOPE}/dogs")).kind == "directory"
    assert await types(tree) == ["cats", "dogs", "pods"]


async def test_a_group_that_vanished_is_no_failure(tree: Tree, spy: Spy) -> None:
    """Between the list of groups and the question it may have gone: it holds nothing then."""
    older(spy, group("gone.example", "v1"), gone_example__v1=[])
    spy.answers["/apis/gone.example/v1"] = 404
    with pytest.raises(FileError) as raised:
        await tree.lookup(f"{SCOPE}/dogs")
    assert raised.value.errno == errno.ENOENT


async def test_what_aggregated_discovery_calls_stale_is_asked_itself(tree: Tree, spy: Spy) -> None:
    """An aggregated API server that does not answer: its error, or what it says after all."""
    entry = {
        "resource": "cats",
        "responseKind": {"kind": "Cat"},
        "scope": "Namespaced",
        "verbs": ["get", "list"],
    }
    spy.answers = {
        "/apis/down.example/v1": 503,
        "/apis/up.example/v1": {"resources": [resource("dogs", "Dog")]},
        "/apis": {
            "kind": "APIGroupDiscoveryList",
            "items": [
                {
                    "metadata": {"name": "down.example"},
                    "versions": [{"version": "v1", "resources": [], "freshness": "Stale"}],
                },
                {
                    "metadata": {"name": "up.example"},
                    "versions": [{"version": "v1", "resources": [entry], "freshness": "Stale"}],
                },
            ],
        },
    }
    assert "dogs" in await types(tree)
    assert "cats" not in await types(tree)
    with pytest.raises(FileError) as raised:
        await tree.lookup(f"{SCOPE}/cats.down.example")
    assert raised.value.errno == errno.EIO


async def test_empty_types_can_be_hidden(api: EmbeddedCluster) -> None:
    """They resolve all the same; pods always show, and so does what cannot be probed."""
    await api.client.create(CONFIG_MAPS, config_map("a"))
    async with spying(api, hide_empty_types=True) as (tree, spy):
        spy.answers["/apis/batch/v1/namespaces/default/jobs"] = 500
        shown = await names(tree, SCOPE)
        assert {"configmaps", "pods", "jobs"} <= {*shown}
        assert not {"leases", "deployments", "secrets"} & {*shown}
        probes = [s for s in spy.sent if "limit=1" in s.query]
        assert len(probes) > 20
        assert (await tree.lookup(f"{SCOPE}/deployments")).kind == "directory"
        assert await names(tree, f"{SCOPE}/deployments") == []
    async with spying(api) as (tree, _):
        assert "deployments" in await names(tree, SCOPE)


async def test_probes_run_together(api: EmbeddedCluster) -> None:
    async with spying(api, hide_empty_types=True) as (tree, spy):
        inside, several = 0, asyncio.Event()
        request = spy.request

        async def slow(method: str, path: str, **options: Any) -> Any:
            nonlocal inside
            if "limit=1" in options.get("query", ""):
                inside += 1
                if inside == 4:
                    several.set()
                async with asyncio.timeout(5):
                    await several.wait()
            return await request(method, path, **options)

        spy.request = slow  # type: ignore[method-assign]
        assert "pods" in await names(tree, SCOPE)
