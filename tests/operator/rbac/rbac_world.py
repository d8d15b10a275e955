"""An operator that runs as its own service account, with the rights it is given and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import yaml

from cove.client import Client, kubeconfig
from cove.engines._running import Running
from cove.kube.gvk import GVR
from cove.operator import (
    Audit,
    Ctx,
    Entity,
    ObjectMeta,
    Operator,
    Settings,
    Struct,
    Watch,
    entity,
    info,
    to_document,
)
from cove.operator.definitions import crds
from cove.operator.kinds import ConfigMap, Secret
from cove.operator.rbac import service_account

Doc = dict[str, Any]
EVENTS = GVR("", "v1", "events")
ACCOUNTS = GVR("", "v1", "serviceaccounts")
CONFIG_MAPS = GVR("", "v1", "configmaps")


class CacheSpec(Struct):
    size: int = 1


class CacheStatus(Struct):
    ready: int = 0


@entity("cache.example.com/v1")
class Cache(Entity):
    spec: CacheSpec = CacheSpec()
    status: CacheStatus = CacheStatus()


CACHES = info(Cache).gvr


def operator(settings: Settings | None = None) -> Operator:
    """Watches caches and secrets, owns config maps, finalizes."""
    op = Operator("cache-operator", settings)

    @op.controller(Cache, owns=[ConfigMap], watches=[Watch(Secret, lambda s: [s.metadata.name])])
    class Controller:
        async def reconcile(self, cache: Cache, ctx: Ctx) -> None:
            data = {"size": str(cache.spec.size)}
            await ctx.apply(ConfigMap(metadata=ObjectMeta(name=cache.metadata.name), data=data))
            cache.status.ready = cache.spec.size
            for _ in range(2):  # the second counts the first up
                ctx.event("Kept", "it is as it should be")

        async def finalize(self, cache: Cache, ctx: Ctx) -> None:
            ctx.log.info("goes")

    return op


async def apply(client: Client, documents: Iterable[Doc]) -> None:
    for doc in documents:
        resource = await client.resource_of(doc)
        await client.apply(resource.gvr, doc, field_manager="test", force=True)


@asynccontextmanager
async def as_account(
    cluster: Running, op: Operator, documents: list[Doc], namespace: str = "shop"
) -> AsyncIterator[Client]:
    """A client with the token of the operator's service account, over HTTPS."""
    admin = cluster.client
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await apply(admin, [space, *crds(op.entities), service_account(op, namespace), *documents])
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = await admin.create(ACCOUNTS, request, namespace, name=op.name, subresource="token")
    connection = replace(
        kubeconfig.load(yaml.safe_load(cluster.kubeconfig)),
        client_certificate=b"",
        client_key=b"",
        token=token["status"]["token"],
    )
    async with Client.connect(connection) as client:
        yield client


@asynccontextmanager
async def at_work(op: Operator, client: Client, *namespaces: str) -> AsyncIterator[Audit]:
    """The operator at work, every request of it noted."""
    audit = Audit(client.transport)
    async with op.runtime(audit.client(client), namespaces=namespaces) as runtime:
        work = asyncio.create_task(runtime.work(), name="operator")
        try:
            yield audit
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def a_life(client: Client, namespace: str = "shop", name: str = "a") -> None:
    """A cache is made, kept and goes; raises TimeoutError where the operator does not do it."""
    cache = Cache(metadata=ObjectMeta(name=name, namespace=namespace), spec=CacheSpec(size=2))
    async with asyncio.timeout(8):
        await client.create(CACHES, to_document(cache))
        while (await client.get(CACHES, name, namespace)).get("status") != {"ready": 2}:
            await asyncio.sleep(0.01)
        found = await client.list(CONFIG_MAPS, namespace)
        assert name in [c["metadata"]["name"] for c in found.items]
        while not any(e.get("count", 1) > 1 for e in (await client.list(EVENTS, namespace)).items):
            await asyncio.sleep(0.01)
        await client.delete(CACHES, name, namespace)
        while (await client.list(CACHES, namespace)).items:
            await asyncio.sleep(0.01)
