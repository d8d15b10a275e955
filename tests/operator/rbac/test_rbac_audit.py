"""Operators under exactly the rights that are generated for them."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from rbac_world import CACHES, EVENTS, Cache, CacheSpec, a_life, as_account, at_work, operator

from cove.engines.embedded import EmbeddedCluster
from cove.operator import Ctx, ObjectMeta, Operator, Rbac, Settings, to_document
from cove.operator.kinds import Secret
from cove.operator.rbac import Permission, Use, roles
from cove.operator.rbac.audit import use_of

Doc = dict[str, Any]


@pytest.mark.parametrize(
    ("method", "path", "query", "use"),
    [
        ("GET", "/api/v1/pods", "", Use("list", "", "pods")),
        ("GET", "/api/v1/namespaces/a/pods", "watch=true", Use("watch", "", "pods", "", "a")),
        ("GET", "/api/v1/namespaces/a/pods/b/log", "", Use("get", "", "pods", "log", "a", "b")),
        ("GET", "/api/v1/namespaces/a", "", Use("get", "", "namespaces", "", "", "a")),
        ("GET", "/api/v1/secrets", "fieldSelector=metadata.name%3Dx", Use("list", "", "secrets", name="x")),
        ("PATCH", "/apis/a.b/v1/caches/c/status", "", Use("patch", "a.b", "caches", "status", "", "c")),
        ("DELETE", "/apis/a.b/v1/caches/c", "", Use("delete", "a.b", "caches", name="c")),
        ("DELETE", "/apis/a.b/v1/caches", "", Use("deletecollection", "a.b", "caches")),
        ("GET", "/apis/a.b/v1", "", Use("get", url="/apis/a.b/v1")),
        ("GET", "/version", "", Use("get", url="/version")),
    ],
    ids=["list", "watch", "subresource", "namespace", "by-name", "status", "delete", "collection", "group", "url"],
)  # fmt: skip
def test_a_request_is_what_an_authorizer_sees(method: str, path: str, query: str, use: Use) -> None:
    assert use_of(method, path, query) == use


async def test_an_operator_lives_with_exactly_the_role_that_is_generated(
    cluster: EmbeddedCluster,
) -> None:
    op = operator(Settings(namespaces=("shop",)))
    documents = roles(op, "shop")

    async with as_account(cluster, op, documents) as client:
        async with at_work(op, client, "shop") as audit:
            await a_life(cluster.client)

    report = audit.report(documents)
    assert not audit.refused
    assert report.missing == ()
    # What a controller may do with its children, and this one does not.
    group, core = "cache.example.com", ""
    assert set(report.unused) == {
        Permission("shop", group, "caches", "get"),
        *(Permission("shop", core, "configmaps", verb) for verb in ("get", "update", "delete")),
        Permission("shop", core, "secrets", "get"),
    }
    assert "granted, but never used: delete configmaps in shop" in str(report)


async def test_nothing_that_is_used_can_be_taken_away(cluster: EmbeddedCluster) -> None:
    op = operator(Settings(namespaces=("shop",)))
    documents = roles(op, "shop")
    async with as_account(cluster, op, documents) as client:
        async with at_work(op, client, "shop") as audit:
            await a_life(cluster.client)
    # What is not used cannot be missed; the finalizers of owners are for a plugin to ask about.
    needed = [
        (rule, verb)
        for rule, said in enumerate(documents[0]["rules"])
        for verb in said["verbs"]
        if (said["resources"][0], verb) in {(u.permission.resource, u.verb) for u in audit.uses}
        and not said["resources"][0].endswith("/finalizers")
    ]

    assert len(needed) >= 9
    for rule, verb in needed:
        less = copy.deepcopy(documents)
        less[0]["rules"][rule]["verbs"].remove(verb)
        less[0]["rules"] = [said for said in less[0]["rules"] if said["verbs"]]
        async with cluster.fork() as fork:
            async with as_account(fork, op, less) as client, at_work(op, client, "shop") as tried:
                life = asyncio.create_task(a_life(fork.client))
                async with asyncio.timeout(20):
                    while not tried.refused and not life.done():
                        await asyncio.sleep(0.005)
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)
        asked = [use for use in tried.refused if use.verb == verb]
        resource = documents[0]["rules"][rule]["resources"][0]
        assert resource in {use.permission.resource for use in asked}, (resource, verb)


async def test_an_audit_finds_what_a_handler_does_beside_its_declarations(
    cluster: EmbeddedCluster,
) -> None:
    op = Operator("cache-operator", Settings(namespaces=("shop",)))

    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        await ctx.get(Secret, "none")
        cache.status.ready = cache.spec.size
        ctx.event("Kept", "it is as it should be")
        ctx.event("Kept", "it is as it should be")

    documents = roles(op, "shop")
    async with as_account(cluster, op, documents):
        async with at_work(op, cluster.client, "shop") as audit:
            await _until_kept(cluster)

    report = audit.report(documents)
    assert [str(use) for use in report.missing] == ["get secrets none in shop"]
    assert report
    op.rbac(Rbac(Secret, "get"))
    assert audit.report(roles(op, "shop")).missing == ()
    assert "used, but not granted: get secrets none in shop" in str(report)
    assert audit.rules()["shop"] == [
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": ["cache.example.com"], "resources": ["caches"], "verbs": ["list", "watch"]},
        {"apiGroups": ["cache.example.com"], "resources": ["caches/status"], "verbs": ["patch"]},
    ]


async def _until_kept(cluster: EmbeddedCluster) -> None:
    cache = Cache(metadata=ObjectMeta(name="a", namespace="shop"), spec=CacheSpec(size=2))
    await cluster.client.create(CACHES, to_document(cache))
    async with asyncio.timeout(8):
        while not any(
            e.get("count", 1) > 1 for e in (await cluster.client.list(EVENTS, "shop")).items
        ):
            await asyncio.sleep(0.01)


async def test_who_owns_and_blocks_uses_the_finalizers_of_the_owner(
    cluster: EmbeddedCluster,
) -> None:
    op = operator(Settings(namespaces=("shop",)))

    async with as_account(cluster, op, roles(op, "shop")) as client:
        async with at_work(op, client, "shop") as audit:
            await a_life(cluster.client)

    assert Use("update", "cache.example.com", "caches", "finalizers", "shop") in audit.uses
    assert [u.verb for u in audit.uses if u.resource == "configmaps" and u.name == "a"] == [
        "patch",
        "create",
    ]
