"""Which collections of a source are copied, in which order; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cove.client import Resource
from cove.engines.clone._options import CloneError
from cove.kube.gvk import GVR

__all__ = ["DEFINITIONS", "NAMESPACES", "Collection", "Plan", "plan", "stored_versions"]

DEFINITIONS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
NAMESPACES = GVR("", "v1", "namespaces")

# Never copied: what a server says of itself.
_OWN = {
    "apiservices.apiregistration.k8s.io": "a server tells which groups it serves itself",
    "componentstatuses": "they are not objects, but what a server says of itself",
}
_WEBHOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_WEBHOOKS_WHY = "those whom they ask do not run in a clone, and nothing could be written"

# Owners come before what they own: what is not here may own anything.
_LATER = {
    "replicasets": 1,
    "jobs": 1,
    "controllerrevisions": 1,
    "persistentvolumeclaims": 1,
    "pods": 2,
    "endpoints": 3,
    "endpointslices": 3,
    "leases": 3,
    "events": 3,
}


class Collection(NamedTuple):
    """One to be read.  ``rank`` orders them: those of one rank may be read side by side."""

    gvr: GVR
    namespaced: bool
    rank: int

    @property
    def name(self) -> str:
        """``deployments.apps``."""
        return name_of(self.gvr)


class Plan(NamedTuple):
    """What is read, in order, and what is not, with the reason."""

    collections: list[Collection]
    skipped: dict[str, str]


def name_of(gvr: GVR) -> str:
    """As kubectl names it: ``pods``, ``deployments.apps``."""
    return f"{gvr.resource}.{gvr.group}" if gvr.group else gvr.resource


def stored_versions(definitions: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """(group, plural) → the version that custom resources are stored in."""
    out = {}
    for doc in definitions:
        spec = doc.get("spec") or {}
        for version in spec.get("versions") or ():
            if version.get("storage"):
                out[spec["group"], spec["names"]["plural"]] = version["name"]
    return out


def plan(
    resources: Sequence[Resource],
    served: Callable[[GVR], str | None],
    *,
    stored: Mapping[tuple[str, str], str],
    namespaces: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    webhooks: bool = False,
) -> Plan:
    """Choose among all versions of the source's ``resources``, the preferred ones first.

    ``served`` gives where the clone stores a resource, None where it does not serve it;
    ``stored`` is what :func:`stored_versions` says.  Raises CloneError for a name in
    ``include`` or ``exclude`` that no resource has.
    """
    _check(resources, (*include, *exclude))
    versions: dict[str, list[Resource]] = {}
    for resource in resources:
        if {"get", "list"} <= resource.verbs:
            versions.setdefault(name_of(resource.gvr), []).append(resource)
    chosen: list[Collection] = []
    skipped: dict[str, str] = {}
    places: set[str] = set()
    for name, found in versions.items():
        first = found[0]
        if _named(first, exclude) or (include and not _named(first, include)):
            if first.gvr not in (DEFINITIONS, NAMESPACES) or _named(first, exclude):
                continue
        if namespaces and not first.namespaced and not _named(first, include):
            if first.gvr not in (DEFINITIONS, NAMESPACES):
                continue
        if name in _OWN:
            skipped[name] = _OWN[name]
            continue
        if first.gvr.resource in _WEBHOOKS and not webhooks:
            skipped[name] = _WEBHOOKS_WHY
            continue
        mark = stored.get((first.gvr.group, first.gvr.resource))
        found.sort(key=lambda r: r.gvr.version != mark)  # stable: preferred first otherwise
        there = [(r, place) for r in found if (place := served(r.gvr)) is not None]
        if not there:
            skipped[name] = "it is of another server, which a clone does not have"
        elif there[0][1] not in places:
            resource, place = there[0]
            places.add(place)
            chosen.append(Collection(resource.gvr, resource.namespaced, _rank(resource.gvr)))
    chosen.sort(key=lambda c: c.rank)
    return Plan(chosen, skipped)


def _rank(gvr: GVR) -> int:
    if gvr == DEFINITIONS:
        return -2
    if gvr == NAMESPACES:
        return -1
    built_in = not gvr.group or "." not in gvr.group or gvr.group.endswith(".k8s.io")
    return _LATER.get(gvr.resource, 0) if built_in else 0


def _check(resources: Sequence[Resource], names: Sequence[str]) -> None:
    for name in names:
        if not any(_named(resource, (name,)) for resource in resources):
            raise CloneError(
                f'the source has no kind "{name}": `kubectl api-resources` lists those it has'
            )


def _named(resource: Resource, names: Sequence[str]) -> bool:
    """Whether a person means the resource: kind, plural, singular or short name, ``.group`` or not."""
    known = {
        resource.gvr.resource,
        resource.kind.lower(),
        resource.singular or resource.kind.lower(),
        *resource.short_names,
    }
    for name in names:
        wanted, dot, group = name.lower().partition(".")
        if wanted in known and (not dot or group == resource.gvr.group):
            return True
    return False
