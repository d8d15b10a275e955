"""Clones: what is copied, in which order, and that nothing but GET reaches the source."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from command import Cove

from cove.cli._clone import _Line
from cove.client import Client, UnreachableError, kubeconfig
from cove.engines.clone import CloneError, CloneOptions, Progress, clone
from cove.engines.clone._copy import Copy
from cove.engines.clone._record import Record
from cove.engines.clone._source import Source
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.engines.existing import NotAllowedError
from cove.engines.home import ClusterFolder, Settings
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

CONFIG_MAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
NAMESPACES = GVR("", "v1", "namespaces")
PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
KITES = GVR("example.com", "v1", "kites")
ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")
BINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
HOOKS = GVR("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
MANY = 2200
Doc = dict[str, Any]


class Asked:
    """An observer at the source: method, path and continue token of every request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.before: Callable[[str, str], None] = lambda _path, _token: None

    def began(self, _api: Any, request: Any) -> None:
        if request.user is not None and request.user.name == "system:apiserver":
            return  # the source's own controllers
        token = parse_qs(request.query_string).get("continue", [""])[0]
        self.requests.append((request.method, request.path, token))
        self.before(request.path, token)

    @property
    def methods(self) -> set[str]:
        return {method for method, _, _ in self.requests}

    def pages(self, gvr: GVR) -> list[str]:
        """The tokens that pages of a collection were asked for with."""
        return [t for _, path, t in self.requests if path.endswith(f"/{gvr.resource}")]


@pytest.fixture
async def source() -> AsyncIterator[EmbeddedCluster]:
    async with embedded("prod", nodes=1) as cluster:
        yield cluster


@pytest.fixture
async def target() -> AsyncIterator[EmbeddedCluster]:
    async with embedded("copy", nodes=0, controllers=False) as cluster:
        yield cluster


@pytest.fixture
def asked(source: EmbeddedCluster) -> Asked:
    observer = Asked()
    source.api.observers = (*source.api.observers, observer)
    return observer


async def copy(
    source: Client,
    target: EmbeddedCluster,
    record: Record | None = None,
    told: Callable[[Progress], None] = lambda _progress: None,
    **options: Any,
) -> tuple[Copy, Record]:
    """Run one clone in this process."""
    wanted = CloneOptions(**options)
    record = record or Record("prod", "", wanted.what)
    run = Copy(Source(source), target.api, record, wanted, save=lambda: None, told=told)
    await run.run()
    return run, record


def plain(doc: Doc) -> Doc:
    """All of an object but for its resource version."""
    return {**doc, "metadata": {k: v for k, v in doc["metadata"].items() if k != "resourceVersion"}}


async def both(
    source: EmbeddedCluster, target: EmbeddedCluster, gvr: GVR
) -> tuple[dict[str, Doc], dict[str, Doc]]:
    found = []
    for cluster in (source, target):
        items = (await cluster.client.list(gvr)).items
        found.append(
            {f"{o['metadata'].get('namespace')}/{o['metadata']['name']}": plain(o) for o in items}
        )
    return found[0], found[1]


def definition() -> Doc:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"served": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "metadata": {"name": "kites.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "kites", "singular": "kite", "kind": "Kite"},
            # The preferred version is not the one that is stored.
            "versions": [
                {"name": "v1", "storage": False, **served},
                {"name": "v1beta1", "storage": True, **served},
            ],
        },
    }


async def fill(client: Client) -> None:
    """An application, its definition, and a Secret."""
    await client.create(CRDS, definition())
    await client.create(NAMESPACES, {"metadata": {"name": "shop"}})
    await client.create(
        KITES,
        {"apiVersion": "example.com/v1", "kind": "Kite", "metadata": {"name": "red", "namespace": "shop"}, "spec": {"tail": 3}},
    )  # fmt: skip
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "nginx"}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await client.create(
        DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    )
    password = b64encode(b"hunter2").decode()
    await client.apply(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "db",
                "namespace": "shop",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": '{"data":"hunter2"}',
                    "team": "a",
                },
            },
            "data": {"password": password, "user": password},
        },
        field_manager="tests",
    )


async def test_objects_are_in_the_clone_as_they_are_in_the_source(
    source: EmbeddedCluster, target: EmbeddedCluster, asked: Asked
) -> None:
    """With uids, times, status, managed fields; nothing but GET was sent."""
    await fill(source.client)
    await source.settle()
    asked.requests.clear()

    run, record = await copy(source.client, target)

    assert asked.methods == {"GET"}
    assert record.failed == {}
    for gvr in (CRDS, NAMESPACES, KITES, DEPLOYMENTS, PODS, CONFIG_MAPS, ROLES, BINDINGS):
        theirs, ours = await both(source, target, gvr)
        assert theirs
        assert {k: ours.get(k) for k in theirs} == theirs, gvr
    pods = (await target.client.list(PODS, "shop")).items
    assert [p["status"]["phase"] for p in pods] == ["Running"] * 2
    assert "apiservices.apiregistration.k8s.io" in run.skipped


async def test_nothing_moves_in_a_clone(
    source: EmbeddedCluster, target: EmbeddedCluster, asked: Asked
) -> None:
    """What it lacks is not made, what its owners lack is not deleted."""
    await fill(source.client)
    await source.settle()
    await copy(source.client, target, include=("pods",))

    await target.settle()

    assert len((await target.client.list(PODS, "shop")).items) == 2
    assert (await target.client.list(DEPLOYMENTS)).items == []


async def test_order_is_definitions_namespaces_owners_owned(
    source: EmbeddedCluster, target: EmbeddedCluster, asked: Asked
) -> None:
    await fill(source.client)
    await source.settle()

    await copy(source.client, target)

    first = [
        min(e.revision for e in target.api.store.history(resource))
        for resource in (
            "customresourcedefinitions.apiextensions.k8s.io",
            "kites.example.com",
            "replicasets.apps",
            "pods",
        )
    ]
    assert first == sorted(first)
    shop = target.api.store.history("namespaces", "", "shop")[0].revision
    assert first[0] < shop < first[1]


@pytest.mark.parametrize("secrets", [False, True], ids=["redacted", "whole"])
async def test_secrets_keep_their_keys_and_nothing_else_unless_asked(
    source: EmbeddedCluster, target: EmbeddedCluster, secrets: bool
) -> None:
    await fill(source.client)

    _, record = await copy(source.client, target, secrets=secrets)

    found = await target.client.get(SECRETS, "db", "shop")
    theirs = await source.client.get(SECRETS, "db", "shop")
    everything = b"".join(o.data for o in target.api.store.state.list("secrets"))
    if secrets:
        assert plain(found) == plain(theirs)
        assert record.parts["secrets"].redacted == 0
    else:
        redacted = b64encode(b"redacted").decode()
        assert found["data"] == {"password": redacted, "user": redacted}
        assert found["metadata"]["annotations"] == {"team": "a"}
        assert found["metadata"]["uid"] == theirs["metadata"]["uid"]
        assert b"hunter2" not in everything
        assert b64encode(b"hunter2") not in everything
        assert record.parts["secrets"].redacted == 1


async def test_namespaces_limit_it(source: EmbeddedCluster, target: EmbeddedCluster) -> None:
    await fill(source.client)
    await source.client.create(NAMESPACES, {"metadata": {"name": "other"}})
    for namespace in ("other", "shop"):
        await source.client.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": namespace}})
    await source.client.create(ROLES, {"metadata": {"name": "mine"}, "rules": []})

    await copy(source.client, target, namespaces=("shop",))

    assert (await target.client.get(CONFIG_MAPS, "a", "shop"))["metadata"]["name"] == "a"
    assert (await target.client.list(KITES, "shop")).items
    names = {o["metadata"]["name"] for o in (await target.client.list(NAMESPACES)).items}
    assert "shop" in names
    assert "other" not in names
    with pytest.raises(StatusError, match="not found"):
        await target.client.get(ROLES, "mine")
    with pytest.raises(CloneError, match='no namespace "nope"'):
        await copy(source.client, target, namespaces=("nope",))


async def test_kinds_are_chosen_by_any_name_of_theirs(
    source: EmbeddedCluster, target: EmbeddedCluster, asked: Asked
) -> None:
    await fill(source.client)
    await source.client.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "shop"}})
    asked.requests.clear()

    await copy(source.client, target, include=("cm", "Kite", "deploy.apps"), exclude=("kites",))

    assert asked.pages(SECRETS) == asked.pages(PODS) == asked.pages(KITES) == []
    assert (await target.client.get(CONFIG_MAPS, "a", "shop"))["metadata"]["name"] == "a"
    assert (await target.client.list(DEPLOYMENTS)).items
    with pytest.raises(CloneError, match='no kind "parrots"'):
        await copy(source.client, target, exclude=("parrots",))


async def test_without_definitions_their_kinds_are_told_and_left_out(
    source: EmbeddedCluster, target: EmbeddedCluster
) -> None:
    await fill(source.client)

    run, _ = await copy(source.client, target, exclude=("crd",))

    assert "another server" in run.skipped["kites.example.com"]


@pytest.mark.parametrize("webhooks", [False, True])
async def test_webhooks_come_only_if_asked_for(
    source: EmbeddedCluster, target: EmbeddedCluster, webhooks: bool
) -> None:
    await source.client.create(HOOKS, {"metadata": {"name": "gate"}, "webhooks": []})

    run, _ = await copy(source.client, target, webhooks=webhooks)

    there = (await target.client.list(HOOKS)).items
    assert len(there) == webhooks
    assert any("webhook" in name for name in run.skipped) != webhooks


def user_of(cluster: EmbeddedCluster, user: str) -> Client:
    """A client that may do what ``user`` may."""
    doc = yaml.safe_load(cluster.kubeconfig)
    doc["users"][0]["user"]["as"] = user
    path = cluster.kubeconfig_path.with_name(f"{user}.yaml")
    path.write_text(yaml.safe_dump(doc))
    return Client.connect(kubeconfig.load(str(path)))


async def test_what_is_forbidden_is_told_and_left_out(
    source: EmbeddedCluster, target: EmbeddedCluster
) -> None:
    await fill(source.client)
    await source.client.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "shop"}})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    await source.client.create(ROLES, {"metadata": {"name": "reader"}, "rules": rules})
    await source.client.create(
        BINDINGS,
        {
            "metadata": {"name": "jane"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        },
    )  # fmt: skip

    async with user_of(source, "jane") as jane:
        run, record = await copy(jane, target, exclude=("events",))

    assert (await target.client.get(CONFIG_MAPS, "a", "shop"))["metadata"]["name"] == "a"
    assert 'User "jane" cannot list resource "secrets"' in run.skipped["secrets"]
    assert "cannot list" in run.skipped["namespaces"]
    assert run.skipped["namespaces shop"].startswith("made anew: ")
    assert record.parts["configmaps"].done
    assert not record.parts["secrets"].done
    assert (await target.client.get(NAMESPACES, "shop"))["status"]["phase"] == "Active"


async def test_tokens_that_expired_go_on_with_the_one_that_is_offered(
    source: EmbeddedCluster, target: EmbeddedCluster, asked: Asked
) -> None:
    for n in range(25):
        await source.client.create(
            CONFIG_MAPS, {"metadata": {"name": f"c{n:02}", "namespace": "default"}}
        )
    written = 0

    def compact(_progress: Progress) -> None:
        nonlocal written
        written += 1
        source.api.store.compact()

    asked.requests.clear()
    _, record = await copy(source.client, target, told=compact, page=10, include=("configmaps",))

    ours = (await target.client.list(CONFIG_MAPS, "default")).items
    assert {f"c{n:02}" for n in range(25)} <= {o["metadata"]["name"] for o in ours}
    assert record.parts["configmaps"].objects == len((await source.client.list(CONFIG_MAPS)).items)
    assert asked.pages(CONFIG_MAPS).count("") == 2  # the copy's first page, and this test's list


class Forgetful:
    """A transport whose server forgets a token as often as ``times``, and offers ``offered``."""

    def __init__(self, inner: Any, times: int, offered: Callable[[str], str]) -> None:
        self.inner = inner
        self.left = times
        self.offered = offered
        self.tokens: list[str] = []

    async def request(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.inner.request(method, path, **more)
        if path != "/api/v1/configmaps":
            return answer
        token = parse_qs(more["query"]).get("continue", [""])[0]
        self.tokens.append(token)
        if not token or not self.left:
            return answer
        self.left -= 1
        status = {
            "kind": "Status",
            "status": "Failure",
            "code": 410,
            "reason": "Expired",
            "message": "the token is too old",
            "metadata": {"continue": self.offered(token)},
        }
        return answer._replace(status=410, body=json.dumps(status).encode())


@pytest.mark.parametrize("offered", [lambda _token: "", lambda token: token], ids=["none", "same"])
async def test_tokens_that_expired_without_another_are_read_from_the_start(
    source: EmbeddedCluster, target: EmbeddedCluster, offered: Callable[[str], str]
) -> None:
    for n in range(25):
        await source.client.create(
            CONFIG_MAPS, {"metadata": {"name": f"c{n:02}", "namespace": "default"}}
        )
    forgetful = Forgetful(source.client.transport, 2, offered)

    _, record = await copy(
        Client(forgetful),  # type: ignore[arg-type]
        target,
        page=10,
        include=("configmaps",),
    )

    theirs, ours = await both(source, target, CONFIG_MAPS)
    assert ours.keys() == theirs.keys()
    # What is read twice is there once.
    assert record.parts["configmaps"].objects == len(theirs)
    assert forgetful.tokens.count("") == 3


async def test_a_source_that_forgets_every_token_is_told(
    source: EmbeddedCluster, target: EmbeddedCluster
) -> None:
    for n in range(25):
        await source.client.create(
            CONFIG_MAPS, {"metadata": {"name": f"c{n:02}", "namespace": "default"}}
        )
    forgetful = Forgetful(source.client.transport, 1000, lambda _token: "")

    with pytest.raises(StatusError, match="the token is too old") as raised:
        await copy(
            Client(forgetful),  # type: ignore[arg-type]
            target,
            page=10,
            include=("configmaps",),
        )

    assert raised.value.code == 410
    assert forgetful.tokens.count("") == 5


class Shaky:
    """A transport that answers 503 or nothing before it answers."""

    def __init__(self, inner: Any, faults: list[str]) -> None:
        self.inner = inner
        self.faults = faults

    async def request(self, method: str, path: str, **more: Any) -> Any:
        if path == "/api/v1/configmaps" and self.faults:
            if self.faults.pop() == "gone":
                raise UnreachableError("it is away")
            answer = await self.inner.request(method, path, **more)
            return answer._replace(status=503, headers={"retry-after": "7"}, body=b"busy")
        return await self.inner.request(method, path, **more)


async def test_a_source_that_is_busy_or_away_is_asked_again(
    source: EmbeddedCluster, target: EmbeddedCluster
) -> None:
    waits: list[float] = []

    class Patient:
        async def sleep(self, delay: float) -> None:
            waits.append(delay)

    options = CloneOptions(include=("configmaps",))
    for faults, ends in ((["gone", "busy", "gone"], False), (["gone"] * 5, True)):
        waits.clear()
        client = Client(Shaky(source.client.transport, faults))  # type: ignore[arg-type]
        run = Copy(
            Source(client, Patient()),  # type: ignore[arg-type]
            target.api,
            Record("prod", "", options.what),
            options,
            save=lambda: None,
            told=lambda _progress: None,
        )
        if ends:
            with pytest.raises(UnreachableError):
                await run.run()
            assert len(waits) == 4
        else:
            await run.run()
            assert waits == [0.5, 7.0, 14.0]


async def test_an_object_that_cannot_be_stored_is_told_and_the_rest_goes_on(
    source: EmbeddedCluster, target: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        await source.client.create(
            CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}}
        )
    pages = Source.pages

    async def spoiled(self: Source, *what: Any, **more: Any) -> AsyncIterator[Any]:
        async for page in pages(self, *what, **more):
            for item in page.items:
                if item["metadata"]["name"] == "a":
                    item["data"] = ["not", "a", "map"]
            yield page

    monkeypatch.setattr(Source, "pages", spoiled)

    _, record = await copy(source.client, target, include=("configmaps",))

    assert list(record.failed) == ["configmaps default/a"]
    assert (await target.client.get(CONFIG_MAPS, "b", "default"))["metadata"]["name"] == "b"


# -- the command


def variables(source: EmbeddedCluster) -> dict[str, str]:
    return {"KUBECONFIG": str(source.kubeconfig_path)}


async def test_the_command_leaves_a_cluster_that_runs(
    cove: Cove, source: EmbeddedCluster, asked: Asked
) -> None:
    await fill(source.client)
    await source.settle()
    asked.requests.clear()

    done = await asyncio.to_thread(cove.attempt, "clone", "-o", "json", **variables(source))

    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert asked.methods == {"GET"}
    assert (told["cluster"], told["context"], told["redacted"]) == ("prod", "prod", 1)
    assert (told["kinds"]["kites.example.com"], told["kinds"]["pods"]) == (1, 2)
    assert (told["failed"], told["resumed"]) == ({}, False)
    assert told["objects"] == sum(told["kinds"].values())
    async with Client.connect(kubeconfig.load(str(cove.folder("prod") / "kubeconfig"))) as client:
        pods = (await client.list(PODS, "shop")).items
        assert [p["status"]["phase"] for p in pods] == ["Running"] * 2
        theirs = (await source.client.list(PODS, "shop")).items
        assert [plain(p) for p in pods] == [plain(p) for p in theirs]
        # It takes writes, but nobody acts on them.
        await client.delete(PODS, pods[0]["metadata"]["name"], "shop")
    again = await asyncio.to_thread(cove.attempt, "clone", **variables(source))
    assert again.code == 1
    assert "the cluster prod is running" in again.err
    record = Record.load(ClusterFolder("prod", cove.home))
    assert record is not None
    with pytest.raises(CloneError, match="is a whole clone of prod already"):
        record.check(ClusterFolder("prod", cove.home), source.url, CloneOptions())


async def test_controllers_act_on_a_clone_that_has_them(
    cove: Cove, source: EmbeddedCluster, asked: Asked
) -> None:
    """A Deployment is scaled and its pods run; what lost its owner is collected."""
    await fill(source.client)
    await source.settle()
    (owned,) = {
        p["metadata"]["ownerReferences"][0]["name"]
        for p in (await source.client.list(PODS, "shop")).items
    }
    # Its owner is of a kind that is not copied.
    orphan = {
        "metadata": {
            "name": "orphan",
            "namespace": "shop",
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": "gone",
                    "uid": "00000000-0000-4000-8000-000000000000",
                }
            ],
        }
    }
    quiet = await source.client.create(CONFIG_MAPS, {"metadata": {"name": "kept"}}, "shop")
    options = ("clone", "--controllers", "-o", "json", "--exclude", "nodes,leases")
    asked.requests.clear()

    done = await asyncio.to_thread(cove.attempt, *options, **variables(source))

    assert done.code == 0, done.err
    assert asked.methods == {"GET"}
    async with Client.connect(kubeconfig.load(str(cove.folder("prod") / "kubeconfig"))) as client:
        nodes = [n["metadata"]["name"] for n in (await client.list(NODES)).items]
        assert nodes == ["node-0"]
        await client.create(CONFIG_MAPS, orphan)
        async with asyncio.timeout(60):
            await gone(client, CONFIG_MAPS, "orphan", "shop")
            scale = {"spec": {"replicas": 3}}
            await client.patch(DEPLOYMENTS, "web", scale, namespace="shop")
            async with client.watch(DEPLOYMENTS, "shop") as events:
                async for event in events:
                    if event.object["status"].get("availableReplicas") == 3:
                        break
        pods = (await client.list(PODS, "shop")).items
        assert {p["metadata"]["ownerReferences"][0]["name"] for p in pods} == {owned}
        assert (await client.get(CONFIG_MAPS, "kept", "shop"))["metadata"]["uid"] == (
            quiet["metadata"]["uid"]
        )
        # The source knows nothing of it.
        assert len((await source.client.list(PODS, "shop")).items) == 2


async def gone(client: Client, gvr: GVR, name: str, namespace: str) -> None:
    """Wait until an object is no more."""
    async with client.watch(gvr, namespace) as events:
        try:
            await client.get(gvr, name, namespace)
        except StatusError:
            return
        async for event in events:
            if event.type == "DELETED" and event.object["metadata"]["name"] == name:
                return


async def test_a_clone_that_was_killed_goes_on_where_it_was(
    cove: Cove, source: EmbeddedCluster, asked: Asked
) -> None:
    """kill -9 while it asks for the fourth page of five."""
    async with asyncio.TaskGroup() as writers:
        for n in range(MANY):
            body = {"metadata": {"name": f"c{n:04}", "namespace": "default"}, "data": {"n": str(n)}}
            writers.create_task(source.client.create(CONFIG_MAPS, body))
    asked.requests.clear()
    command = [sys.executable, "-m", "cove.cli", "clone", "--name", "copy", "-o", "json"]
    # Leaving the context waits for the end of the process.
    with subprocess.Popen(  # noqa: ASYNC220 - nobody waits for it on the loop
        command,
        env=cove.environment(**variables(source)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:

        def kill(path: str, token: str) -> None:
            if token and len(asked.pages(CONFIG_MAPS)) == 4:
                os.kill(process.pid, signal.SIGKILL)

        asked.before = kill
        code = await asyncio.to_thread(process.wait)
    asked.before = lambda _path, _token: None
    first = asked.pages(CONFIG_MAPS)
    state = json.loads((cove.folder("copy") / "clone.json").read_text())
    asked.requests.clear()

    wrong = await asyncio.to_thread(
        cove.attempt, "clone", "--name", "copy", "--secrets", **variables(source)
    )
    assert wrong.code == 1
    assert "with other options" in wrong.err
    asked.requests.clear()
    done = await asyncio.to_thread(
        cove.attempt, "clone", "--name", "copy", "-o", "json", **variables(source)
    )

    assert code == -signal.SIGKILL
    assert len(first) == 4
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["resumed"] is True
    # The page that was being asked for comes again, those before it do not.
    assert asked.pages(CONFIG_MAPS)[0] == first[3] == state["parts"]["configmaps"]["token"]
    assert len(first[:3] + asked.pages(CONFIG_MAPS)) == -(-told["kinds"]["configmaps"] // 500)
    finished = [name for name, part in state["parts"].items() if part["done"]]
    assert finished
    for name in finished:
        assert not asked.pages(GVR("", "", name.partition(".")[0])), name
    assert asked.methods == {"GET"}
    async with Client.connect(kubeconfig.load(str(cove.folder("copy") / "kubeconfig"))) as client:
        ours = (await client.list(CONFIG_MAPS, "default")).items
    theirs = (await source.client.list(CONFIG_MAPS, "default")).items
    assert len(ours) == len(theirs) > MANY
    assert [plain(o) for o in ours] == [plain(o) for o in theirs]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clusters of this process are."""
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COVE_ALLOW_CONTEXTS", raising=False)
    return tmp_path / "home" / "clusters"


async def test_only_contexts_that_were_allowed_are_cloned(
    folders: Path, source: EmbeddedCluster, tmp_path: Path
) -> None:
    doc = yaml.safe_load(source.kubeconfig)
    doc["clusters"][0]["cluster"]["server"] = "https://api.prod.test:6443"
    (tmp_path / "config").write_text(yaml.safe_dump(doc))

    with pytest.raises(NotAllowedError, match="was not allowed"):
        await asyncio.to_thread(clone, CloneOptions(kubeconfig=tmp_path / "config", name="copy"))

    assert not (folders / "copy").exists()


async def test_a_cluster_that_is_no_clone_is_left_alone(
    folders: Path, source: EmbeddedCluster
) -> None:
    mine = ClusterFolder("mine")
    mine.create()
    mine.save(Settings())

    with pytest.raises(CloneError, match="there is a cluster mine already"):
        await asyncio.to_thread(clone, CloneOptions(kubeconfig=source.kubeconfig_path, name="mine"))

    assert mine.exists
    assert not (folders / "mine" / "clone.json").exists()


async def test_nothing_is_left_of_a_clone_that_copied_nothing(
    folders: Path, source: EmbeddedCluster
) -> None:
    options = CloneOptions(kubeconfig=source.kubeconfig_path, include=("parrots",))

    with pytest.raises(CloneError, match='no kind "parrots"'):
        await asyncio.to_thread(clone, options)

    assert list(folders.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"context": 1}'])
def test_a_record_that_cannot_be_read_is_told(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_HOME", str(tmp_path))
    folder = ClusterFolder("copy")
    folder.create()
    folder.write("clone.json", text.encode())
    with pytest.raises(CloneError, match=r"clone\.json cannot be read"):
        Record.load(folder)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_a_line_that_changes_on_a_terminal_and_plain_lines_elsewhere(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    line = _Line()
    for objects in (500, 500, 1000):
        line.told(Progress(objects, 2, 50, "pods", False))
    line.end()

    said = capsys.readouterr().err
    if terminal:
        assert said.count("\r\x1b[K") == 4
        assert "\n" not in said
    else:
        assert said == "500 objects, 2 of 50 kinds: pods\n1,000 objects, 2 of 50 kinds: pods\n"
