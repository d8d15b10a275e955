"""An operator under test on the real server, and the kinds it is about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cove.client import Client, Clock
from cove.engines._running import Running
from cove.kube.gvk import GVR
from cove.operator import (
    Entity,
    ObjectMeta,
    Operator,
    Runtime,
    Struct,
    entity,
    field,
    info,
    to_document,
)
from cove.operator.definitions import crds

__all__ = ["Cache", "CacheSpec", "CacheStatus", "ConfigMap", "World", "define", "operating"]

CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
Doc = dict[str, Any]


class CacheSpec(Struct):
    """What is wanted of a cache."""

    size: int = 1


class CacheStatus(Struct):
    """How a cache is."""

    ready: int = 0
    seen: int = 0


@entity("cache.example.com/v1")
class Cache(Entity):
    """A cache."""

    spec: CacheSpec = field(default_factory=CacheSpec)
    status: CacheStatus = field(default_factory=CacheStatus)


@entity("v1", ignore=True)
class ConfigMap(Entity):
    """As far as it matters here."""

    data: dict[str, str] = field(default_factory=dict)


class World:
    """A cluster with the kinds, an operator at work, and what a user does."""

    def __init__(self, client: Client, runtime: Runtime) -> None:
        self.client = client
        self.runtime = runtime

    async def make(self, name: str = "a", size: int = 1, **metadata: Any) -> Doc:
        cache = Cache(
            metadata=ObjectMeta(name=name, namespace="default"), spec=CacheSpec(size=size)
        )
        doc = to_document(cache)
        doc["metadata"].update(metadata)
        return await self.client.create(info(Cache).gvr, doc, "default")

    async def get(self, name: str = "a") -> Doc:
        return await self.client.get(info(Cache).gvr, name, "default")

    async def resize(self, size: int, name: str = "a") -> Doc:
        return await self.client.patch(info(Cache).gvr, name, {"spec": {"size": size}}, "default")

    async def delete(self, name: str = "a") -> Doc:
        return await self.client.delete(info(Cache).gvr, name, "default")

    async def until(self, what: Callable[[], bool]) -> None:
        """Return when it is so and the operator has nothing to do; the test fails after 10 s."""
        async with asyncio.timeout(10):
            while not (what() and self.runtime.idle):
                await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        """Return when what was written has arrived and nothing more comes of it."""
        calm = 0
        async with asyncio.timeout(10):
            while calm < 10:
                await asyncio.sleep(0.003)
                calm = calm + 1 if self.runtime.idle else 0


async def define(client: Client, *kinds: type[Entity]) -> None:
    """Create the kinds' definitions, and return when they are served."""
    for made in crds(kinds):
        await client.create(CRDS, made)
        name = made["metadata"]["name"]
        async with client.watch(CRDS, field_selector=f"metadata.name={name}") as events:
            async for event in events:
                conditions = event.object.get("status", {}).get("conditions", ())
                if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                    break


@asynccontextmanager
async def operating(
    cluster: Running, op: Operator, *kinds: type[Entity], clock: Clock | None = None, **options: Any
) -> AsyncIterator[World]:
    """The operator at work; nothing of it runs afterwards."""
    client = cluster.client
    known = {c["metadata"]["name"] for c in (await client.list(CRDS)).items}
    await define(client, *(k for k in (kinds or (Cache,)) if info(k).crd_name not in known))
    before = asyncio.all_tasks()
    async with op.runtime(client, clock=clock, **options) as runtime:
        work = asyncio.create_task(runtime.work(), name="operator")
        await runtime.synced()
        yield World(client, runtime)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    left = asyncio.all_tasks() - before
    assert not left, left
