"""Targets: objects as people name them — ``pod/web``, ``deploy/web``, an object itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube.gvk import GVR
from cove.testing.values import unwrap

if TYPE_CHECKING:
    from cove.client import Client, Resource

__all__ = ["Target", "collection", "resolve"]


class Target(NamedTuple):
    """One object, or with ``name`` "" a collection; ``namespace`` None for cluster scope."""

    gvr: GVR
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


async def collection(client: Client, word: str) -> Resource:
    """The resource that a word means: a plural, a kind, a short name, ``deployments.apps``.

    Raises LookupError for one that there is not.
    """
    for fresh in (False, True):
        resources = await client.discovery.resources(fresh=fresh)
        for resource in resources:
            if _means(resource, word.lower()):
                return resource
    known = sorted({r.gvr.resource for r in resources})
    close = difflib.get_close_matches(word.lower(), known, 3)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    raise LookupError(f'the cluster has no kind "{word}"{hint}')


def _means(resource: Resource, word: str) -> bool:
    names = {resource.gvr.resource, resource.kind.lower(), resource.singular, *resource.short_names}
    plain, _, group = word.partition(".")
    if group:
        # deployments.apps, deployments.v1.apps
        fits = group in (resource.gvr.group, f"{resource.gvr.version}.{resource.gvr.group}")
        return fits and plain in names
    return word in names


async def resolve(client: Client, what: Any, namespace: str) -> Target:
    """The object that is meant; ``namespace`` where it says none and has one.

    Raises LookupError for a kind that there is not, ValueError for what names no object.
    """
    what = unwrap(what)
    if isinstance(what, Mapping):
        resource = await client.resource_of(what)
        metadata = what.get("metadata") or {}
        name, namespace = str(metadata.get("name") or ""), metadata.get("namespace") or namespace
    else:
        word, _, name = str(what).partition("/")
        resource = await collection(client, word)
    if not name:
        raise ValueError(f'"{what}" names no object: say KIND/NAME, as in "pod/web"')
    place = namespace if resource.namespaced else None
    return Target(resource.gvr, resource.kind, place, name)
