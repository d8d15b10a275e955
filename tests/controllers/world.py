"""A cluster as its user sees it, and waiting for states."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cove.client import Client
from cove.kube.gvk import GVR

Doc = dict[str, Any]
NAMESPACE = "default"
PATIENCE = 10.0


class World:
    """A cluster as its user sees it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def create(self, gvr: GVR, name: str, body: Doc, namespace: str | None = None) -> Doc:
        """Create an object; in the namespace ``default`` unless told."""
        metadata = {"name": name, **body.pop("metadata", {})}
        return await self.client.create(gvr, {"metadata": metadata, **body}, namespace or NAMESPACE)

    async def until(
        self, gvr: GVR, fits: Callable[[list[Doc]], bool], *, labels: str = ""
    ) -> list[Doc]:
        """The collection's objects as soon as they fit; watched, not polled."""
        scope = (
            None
            if gvr.resource
            in (
                "nodes",
                "namespaces",
                "persistentvolumes",
                "storageclasses",
                "servicecidrs",
                "customresourcedefinitions",
                "validatingadmissionpolicies",
            )
            else NAMESPACE
        )
        objects: dict[str, Doc] = {}
        async with asyncio.timeout(PATIENCE):
            listed = await self.client.list(gvr, scope, label_selector=labels)
            objects = {o["metadata"]["name"]: o for o in listed.items}
            if fits(list(objects.values())):
                return list(objects.values())
            async with self.client.watch(
                gvr, scope, resource_version=listed.resource_version, label_selector=labels
            ) as events:
                async for event in events:
                    if event.type == "BOOKMARK":
                        continue
                    name = event.object["metadata"]["name"]
                    if event.type == "DELETED":
                        objects.pop(name, None)
                    else:
                        objects[name] = event.object
                    if fits(list(objects.values())):
                        return list(objects.values())
        raise AssertionError("the watch ended")

    async def one(self, gvr: GVR, name: str, fits: Callable[[Doc], bool]) -> Doc:
        """One object as soon as it fits."""
        found = await self.until(
            gvr, lambda found: any(o["metadata"]["name"] == name and fits(o) for o in found)
        )
        return next(o for o in found if o["metadata"]["name"] == name)

    async def gone(self, gvr: GVR, name: str) -> None:
        """Return when an object is gone."""
        await self.until(gvr, lambda found: all_but(found, name))


def all_but(objects: list[Doc], name: str) -> bool:
    return not any(o["metadata"]["name"] == name for o in objects)


def pod_template(labels: Doc, **spec: Any) -> Doc:
    """A template with one container."""
    return {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }
