"""Discovery: which resources a server has, asked once and kept.

Asks for the aggregated documents (one request each for ``/api`` and ``/apis``) and, where
a server does not know those, for the lists of every group and version.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from cove.client.errors import UnknownKindError
from cove.kube.gvk import GVK, GVR, parse_api_version, version_priority
from cove.kube.status import StatusError

__all__ = ["Discovery", "Resource"]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
Fetch = Callable[[str, str], Awaitable[Any]]


class Resource(NamedTuple):
    """A collection that a server has: where it is and what can be done with it."""

    gvr: GVR
    kind: str
    namespaced: bool
    verbs: frozenset[str]
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()

    @property
    def gvk(self) -> GVK:
        """The type of its objects."""
        return GVK(self.gvr.group, self.gvr.version, self.kind)


class Discovery:
    """A server's resources, cached until :meth:`invalidate`.

    ``fetch`` gets (path, Accept) and gives the decoded document.  A kind that is not known
    makes it look again once, since CRDs come and go.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: list[Resource] | None = None
        self._by_kind: dict[tuple[str, str], Resource] = {}

    def invalidate(self) -> None:
        """Forget everything: the next question asks the server."""
        self._known = None
        self._by_kind = {}

    async def resources(self, *, fresh: bool = False) -> list[Resource]:
        """Every resource of every version, the preferred version of a group first."""
        if fresh:
            self.invalidate()
        known = self._known
        if known is None:
            known = [*await self._load("/api"), *await self._load("/apis")]
            self._known = known
            self._by_kind = {(r.gvr.api_version, r.kind): r for r in reversed(known)}
        return known

    async def preferred(self, *, fresh: bool = False) -> list[Resource]:
        """Every resource once, in its group's preferred version among those that have it."""
        seen: dict[tuple[str, str], Resource] = {}
        for resource in await self.resources(fresh=fresh):
            seen.setdefault((resource.gvr.group, resource.gvr.resource), resource)
        return list(seen.values())

    async def for_kind(self, api_version: str, kind: str) -> Resource:
        """The resource of a document's apiVersion and kind; raises UnknownKindError."""
        await self.resources()
        found = self._by_kind.get((api_version, kind))
        if found is None:
            await self.resources(fresh=True)
            found = self._by_kind.get((api_version, kind))
        if found is None:
            raise UnknownKindError(f'the server has no kind "{kind}" in {api_version}')
        return found

    async def find(self, name: str) -> Resource:
        """What a person may call it: kind, plural, singular or short name, ``.group`` or not."""
        wanted, _, group = name.lower().partition(".")
        for attempt in range(2):
            for resource in await self.preferred(fresh=attempt > 0):
                names = {
                    resource.gvr.resource,
                    resource.singular or resource.kind.lower(),
                    resource.kind.lower(),
                    *resource.short_names,
                }
                if wanted in names and (not group or group == resource.gvr.group):
                    return resource
        raise UnknownKindError(f'the server has no resource type "{name}"')

    async def _load(self, path: str) -> Iterable[Resource]:
        doc = await self._fetch(path, AGGREGATED)
        if doc.get("kind") == "APIGroupDiscoveryList":
            return _aggregated(doc)
        return await self._legacy(path, doc)

    async def _legacy(self, path: str, doc: dict[str, Any]) -> list[Resource]:
        versions: list[str] = []
        if path == "/api":
            versions = [str(v) for v in doc.get("versions", ())]
        else:
            for group in doc.get("groups", ()):
                preferred = group.get("preferredVersion", {}).get("groupVersion", "")
                others = sorted(
                    (v["groupVersion"] for v in group.get("versions", ())),
                    key=lambda text: version_priority(parse_api_version(text)[1]),
                )
                versions += [preferred, *(v for v in others if v != preferred)]
        out: list[Resource] = []
        for version in filter(None, versions):
            try:
                listed = await self._fetch(f"{path}/{version}", "application/json")
            except StatusError:
                continue  # an aggregated API that is down hides nobody else's resources
            out.extend(_listed(version, listed))
        return out


def _aggregated(doc: dict[str, Any]) -> list[Resource]:
    out: list[Resource] = []
    for group in doc.get("items", ()):
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions", ()):
            for resource in version.get("resources", ()):
                kind = resource.get("responseKind") or {}
                out.append(
                    Resource(
                        GVR(name, version["version"], resource["resource"]),
                        kind.get("kind", ""),
                        resource.get("scope") == "Namespaced",
                        frozenset(resource.get("verbs", ())),
                        resource.get("singularResource", ""),
                        tuple(resource.get("shortNames", ())),
                        tuple(resource.get("categories", ())),
                        frozenset(s["subresource"] for s in resource.get("subresources", ())),
                    )
                )
    return out


def _listed(api_version: str, doc: dict[str, Any]) -> list[Resource]:
    group, version = parse_api_version(api_version)
    subresources: dict[str, set[str]] = {}
    for entry in doc.get("resources", ()):
        plural, slash, subresource = entry["name"].partition("/")
        if slash:
            subresources.setdefault(plural, set()).add(subresource)
    return [
        Resource(
            GVR(group, version, entry["name"]),
            entry["kind"],
            bool(entry.get("namespaced")),
            frozenset(entry.get("verbs", ())),
            entry.get("singularName", ""),
            tuple(entry.get("shortNames", ())),
            tuple(entry.get("categories", ())),
            frozenset(subresources.get(entry["name"], ())),
        )
        for entry in doc.get("resources", ())
        if "/" not in entry["name"]
    ]
