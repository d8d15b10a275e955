"""Extension servers in this server's discovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cove.kube.catalogue import Resource, Subresource
from cove.kube.catalogue.discovery import ExtraGroup, ExtraVersion, group_priority

if TYPE_CHECKING:
    from cove.server.aggregation._remote import Remote
    from cove.server.api import Api

__all__ = ["extended", "resources_of"]


def extended(api: Api, groups: Sequence[ExtraGroup]) -> Sequence[ExtraGroup]:
    """The groups of custom resources, and those of extension servers among them."""
    remotes = api.remotes.at(api)
    if not remotes:
        return groups
    found: dict[str, list[Remote]] = {}
    for remote in remotes.values():
        if remote.group:
            found.setdefault(remote.group, []).append(remote)
    merged = {g.name: g for g in groups}
    for name, added in found.items():
        added.sort(key=lambda r: r.order)
        versions = [
            ExtraVersion(r.version, r.known.resources, stale=not r.available) for r in added
        ]
        own = merged.get(name)
        priority = max(r.group_priority for r in added)
        if own is not None:
            taken = {v.version for v in versions}
            versions += [v for v in own.versions if v.version not in taken]
            priority = max(priority, group_priority(name))
        merged[name] = ExtraGroup(name, tuple(versions), priority)
    return tuple(merged.values())


def resources_of(remote: Remote, document: Any) -> tuple[Resource, ...]:
    """The resources of an APIResourceList; () for a document that is none."""
    try:
        return _resources(remote, document["resources"])
    except (KeyError, TypeError, AttributeError):
        return ()


def _resources(remote: Remote, items: Sequence[Mapping[str, Any]]) -> tuple[Resource, ...]:
    below: dict[str, dict[str, Subresource]] = {}
    for item in items:
        name, slash, sub = str(item["name"]).partition("/")
        if slash:
            below.setdefault(name, {})[sub] = Subresource(
                sub,
                item.get("group") or remote.group,
                item.get("version") or remote.version,
                str(item.get("kind") or ""),
                tuple(item.get("verbs") or ()),
            )
    return tuple(
        Resource(
            item.get("group") or remote.group,
            item.get("version") or remote.version,
            str(item["name"]),
            item.get("singularName") or "",
            str(item.get("kind") or ""),
            bool(item.get("namespaced")),
            verbs=tuple(item.get("verbs") or ()),
            short_names=tuple(item.get("shortNames") or ()),
            categories=tuple(item.get("categories") or ()),
            subresources=below.get(str(item["name"]), {}),
            storage_version=remote.version,
        )
        for item in items
        if "/" not in str(item["name"])
    )
