"""Installing the kinds of an operator, and taking them away again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cove.client import Client
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError
from cove.operator.definitions import crds
from cove.operator.generate.generators import kinds

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["InstallError", "install", "uninstall"]

Doc = dict[str, Any]
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
PATIENCE = 30.0


class InstallError(CoveError):
    """The kinds could not be installed, or not be taken away."""


async def install(op: Operator, client: Client, *, timeout: float = PATIENCE) -> list[str]:
    """Apply its CustomResourceDefinitions; their names, once the API server serves them all.

    What is there is brought up to date.  Raises InstallError if they are not served within
    ``timeout`` seconds, and StatusError for what the API server refuses.
    """
    documents = crds(kinds(op))
    for doc in documents:
        await client.apply(CRDS, doc, field_manager=op.name, force=True)
    names = [doc["metadata"]["name"] for doc in documents]
    await asyncio.gather(*(_established(client, name, timeout) for name in names))
    client.discovery.invalidate()
    return names


async def _established(client: Client, name: str, timeout: float) -> None:
    last: Doc = {}
    try:
        async with (
            asyncio.timeout(timeout),
            client.watch(CRDS, field_selector=f"metadata.name={name}") as events,
        ):
            async for event in events:
                last = event.object
                if _is(last, "Established"):
                    return
    except TimeoutError:
        pass
    told = "; ".join(
        f"{c['type']}={c['status']}: {c.get('message', '')}"
        for c in last.get("status", {}).get("conditions", ())
    )
    raise InstallError(f"{name} is not served after {timeout:g} s: {told or 'nothing is told'}")


def _is(doc: Doc, type: str) -> bool:
    conditions = doc.get("status", {}).get("conditions", ())
    return any(c["type"] == type and c["status"] == "True" for c in conditions)


async def uninstall(
    op: Operator, client: Client, *, force: bool = False, timeout: float = PATIENCE
) -> list[str]:
    """Delete its definitions; their names, once they are gone.

    While there are objects of theirs this is refused: ``force`` deletes those, too.  What is
    registered for its webhooks goes as well.  Raises InstallError.
    """
    from cove.operator.webhooks import unregister

    there = [doc for doc in crds(kinds(op)) if await _get(client, doc["metadata"]["name"])]
    if not force:
        left = [text async for text in _objects(client, there)]
        if left:
            raise InstallError(
                f"there are still {', '.join(left)}: delete them first, or say --force to have "
                "them deleted"
            )
    await unregister(op, client)
    names = [str(doc["metadata"]["name"]) for doc in there]
    for name in names:
        try:
            await client.delete(CRDS, name)
        except StatusError as e:
            if e.code != 404:
                raise
    await _gone(client, names, there, timeout)
    client.discovery.invalidate()
    return names


async def _objects(client: Client, documents: Iterable[Doc]) -> Any:
    for doc in documents:
        spec = doc["spec"]
        version = next(v["name"] for v in spec["versions"] if v["served"])
        gvr = GVR(spec["group"], version, spec["names"]["plural"])
        found = await client.list(gvr, metadata_only=True)
        if found.items:
            metadata = found.items[0]["metadata"]
            first = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
            more = f" and {len(found.items) - 1} more" if len(found.items) > 1 else ""
            yield f"{gvr.resource} {first}{more}"


async def _gone(client: Client, names: list[str], there: list[Doc], timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            for name in names:
                found = await _get(client, name)
                while found is not None:
                    version = found["metadata"]["resourceVersion"]
                    async with client.watch(
                        CRDS, field_selector=f"metadata.name={name}", resource_version=version
                    ) as events:
                        async for event in events:
                            if event.type == "DELETED":
                                break
                    found = await _get(client, name)
    except TimeoutError:
        left = [text async for text in _objects(client, there)]
        raise InstallError(
            f"{', '.join(names)}: not gone after {timeout:g} s; what is left waits for its "
            f"finalizers, which the operator takes off when it runs: {', '.join(left) or 'nothing'}"
        ) from None


async def _get(client: Client, name: str) -> Doc | None:
    try:
        return await client.get(CRDS, name)
    except StatusError as e:
        if e.code == 404:
            return None
        raise
