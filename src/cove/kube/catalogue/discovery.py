"""Discovery documents: how clients learn which groups, versions and resources there are.

Pure functions from the catalogue, and from what the server adds to it, to documents.
Groups that are not built in (custom resources, aggregated API servers) are given as
:class:`ExtraGroup` values.  The caller answers under the media type asked for; the
aggregated form is ``application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList``.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from cove.kube.catalogue._resources import (
    Resource,
    Subresource,
    groups,
    resources,
    versions,
)

__all__ = [
    "CUSTOM_VERBS",
    "ExtraGroup",
    "ExtraVersion",
    "aggregated_core",
    "aggregated_groups",
    "api_group",
    "api_group_list",
    "api_resource_list",
    "api_versions",
    "group_priority",
    "version_priority",
]

# The verbs of custom resources, in the order upstream lists them.
CUSTOM_VERBS = (
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
)

# spec.groupPriorityMinimum of the built-in groups' APIServices.
_GROUP_PRIORITY = {
    "": 18000,
    "apiregistration.k8s.io": 20000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "admissionregistration.k8s.io": 16700,
    "apiextensions.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
}
_VERSION_PRIORITY = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
}


def group_priority(group: str) -> int:
    """groupPriorityMinimum of a group's APIServices; 1000 for custom resources."""
    return _GROUP_PRIORITY.get(group, 1000)


def version_priority(group: str, version: str) -> int:
    """versionPriority of an APIService; 100 for custom resources."""
    return _VERSION_PRIORITY.get((group, version), 15 if group in _GROUP_PRIORITY else 100)


@dataclass(frozen=True, slots=True)
class ExtraVersion:
    """One served version of a group that is not built in.

    ``stale`` marks the resources of an aggregated API server that does not answer.
    """

    version: str
    resources: Sequence[Resource] = ()
    stale: bool = False


@dataclass(frozen=True, slots=True)
class ExtraGroup:
    """A group that is not built in: its versions, the preferred one first.

    ``priority`` is the highest groupPriorityMinimum of its APIServices and decides the
    place in lists; groups of the same priority come by name.
    """

    name: str
    versions: Sequence[ExtraVersion]
    priority: int = 1000


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def api_versions(server_address: str = "", client_cidr: str = "0.0.0.0/0") -> dict[str, Any]:
    """``GET /api``; it has no apiVersion of its own.

    ``server_address`` is ``host:port`` as clients of ``client_cidr`` reach the server; ""
    leaves the addresses out.
    """
    doc: dict[str, Any] = {"kind": "APIVersions", "versions": ["v1"]}
    if server_address:
        doc["serverAddressByClientCIDRs"] = [
            {"clientCIDR": client_cidr, "serverAddress": server_address}
        ]
    return doc


def _group_document(name: str, found: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": _group_version(name, v), "version": v} for v in found]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_group(name: str, extra: ExtraGroup | None = None) -> dict[str, Any] | None:
    """``GET /apis/<name>``; None where there is no such group.

    A custom resource may add versions to a built-in group: they come after its own.
    """
    found = [*versions(name)] if name else []
    if extra is not None:
        found += [v.version for v in extra.versions if v.version not in found]
    if not found:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group_document(name, found)}


def _ordered(extra: Iterable[ExtraGroup]) -> list[tuple[str, ExtraGroup | None]]:
    """All groups but the core one, in the order of lists."""
    added = {e.name: e for e in extra}
    found: list[tuple[int, int, str, ExtraGroup | None]] = []
    for place, name in enumerate(groups()):
        if name:
            found.append((-_GROUP_PRIORITY[name], place, name, added.pop(name, None)))
    found += [(-e.priority, len(found) + 1, name, e) for name, e in added.items() if e.versions]
    found.sort(key=lambda row: row[:3])
    return [(name, e) for _, _, name, e in found]


def api_group_list(extra: Iterable[ExtraGroup] = ()) -> dict[str, Any]:
    """``GET /apis``."""
    listed = []
    for name, more in _ordered(extra):
        document = api_group(name, more)
        assert document is not None
        listed.append({k: v for k, v in document.items() if k not in ("kind", "apiVersion")})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def api_resource_list(
    group: str, version: str, extra: Sequence[Resource] = ()
) -> dict[str, Any] | None:
    """``GET /apis/<group>/<version>`` or ``/api/v1``; None where nothing is served.

    ``extra`` are the resources that are not built in.
    """
    found = [*_built_in(group, version), *extra]
    if not found and version not in versions(group):
        return None
    listed: list[dict[str, Any]] = []
    for r in sorted(found, key=lambda r: r.plural):
        listed.append(_resource_document(r))
        listed += [
            _subresource_document(r, sub)
            for sub in sorted(r.subresources.values(), key=lambda s: s.name)
        ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": _group_version(group, version),
        "resources": listed,
    }


@cache
def _by_version() -> Mapping[tuple[str, str], tuple[Resource, ...]]:
    found: dict[tuple[str, str], list[Resource]] = {}
    for r in resources():
        found.setdefault((r.group, r.version), []).append(r)
    return MappingProxyType({key: tuple(rs) for key, rs in found.items()})


def _built_in(group: str, version: str) -> Sequence[Resource]:
    return _by_version().get((group, version), ())


def _resource_document(r: Resource) -> dict[str, Any]:
    doc: dict[str, Any] = {
        "name": r.plural,
        "singularName": r.singular,
        "namespaced": r.namespaced,
        "kind": r.kind,
        "verbs": list(r.verbs),
    }
    if r.short_names:
        doc["shortNames"] = list(r.short_names)
    if r.categories:
        doc["categories"] = list(r.categories)
    if r.persisted:
        doc["storageVersionHash"] = r.storage_hash
    return doc


def _subresource_document(r: Resource, sub: Subresource) -> dict[str, Any]:
    doc: dict[str, Any] = {
        "name": f"{r.plural}/{sub.name}",
        "singularName": "",
        "namespaced": r.namespaced,
    }
    if (sub.group, sub.version) != (r.group, r.version):
        doc["group"] = sub.group
        doc["version"] = sub.version
    doc["kind"] = sub.kind
    doc["verbs"] = list(sub.verbs)
    return doc


def _kind_document(
    group: str, version: str, kind: str, owner: tuple[str, str] | None
) -> dict[str, Any]:
    """A responseKind; built-in groups leave their own group and version to be inferred."""
    if (group, version) == owner:
        group = version = ""
    return {"group": group, "version": version, "kind": kind}


def _discovered(r: Resource, *, built_in: bool) -> dict[str, Any]:
    owner = (r.group, r.version) if built_in else None
    doc: dict[str, Any] = {
        "resource": r.plural,
        "responseKind": _kind_document(r.group, r.version, r.kind, owner),
        "scope": "Namespaced" if r.namespaced else "Cluster",
        "singularResource": r.singular,
        "verbs": list(r.verbs),
    }
    if r.short_names:
        doc["shortNames"] = list(r.short_names)
    if r.categories:
        doc["categories"] = list(r.categories)
    if r.subresources:
        doc["subresources"] = [
            {
                "subresource": s.name,
                "responseKind": _kind_document(s.group, s.version, s.kind, owner),
                "verbs": list(s.verbs),
            }
            for s in sorted(r.subresources.values(), key=lambda s: s.name)
        ]
    return doc


def _version_document(
    group: str, version: str, extra: Sequence[Resource], *, stale: bool = False
) -> dict[str, Any]:
    found = [(r, True) for r in _built_in(group, version)] + [(r, False) for r in extra]
    found.sort(key=lambda row: row[0].plural)
    return {
        "version": version,
        "resources": [_discovered(r, built_in=own) for r, own in found],
        "freshness": "Stale" if stale else "Current",
    }


def _aggregated(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def aggregated_core(extra: Sequence[Resource] = ()) -> dict[str, Any]:
    """``GET /api`` in the aggregated form."""
    return _aggregated([{"metadata": {}, "versions": [_version_document("", "v1", extra)]}])


def aggregated_groups(extra: Iterable[ExtraGroup] = ()) -> dict[str, Any]:
    """``GET /apis`` in the aggregated form: every group with all its resources."""
    items = []
    for name, more in _ordered(extra):
        added = {v.version: v for v in more.versions} if more is not None else {}
        listed = []
        for version in [*versions(name), *(v for v in added if v not in versions(name))]:
            own = added.get(version)
            listed.append(
                _version_document(
                    name,
                    version,
                    own.resources if own is not None else (),
                    stale=own is not None and own.stale,
                )
            )
        items.append({"metadata": {"name": name}, "versions": listed})
    return _aggregated(items)
