"""Which resources a Kubernetes 1.36 serves by default, as discovery lists them.

The table is ``data/resources.json``: per group and version, in the priority order
of the API server's group list, the rows that discovery documents are made of.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

import orjson

__all__ = [
    "ALL_VERBS",
    "Resource",
    "Subresource",
    "groups",
    "preferred_version",
    "resource",
    "resources",
    "storage_version_hash",
    "versions",
]

DATA = Path(__file__).parent / "data"

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_SUBRESOURCE_VERBS = ("get", "patch", "update")

# Kinds that are stored as another group's or version's: two views of one set of objects.
_STORED_AS = {
    ("events.k8s.io", "v1", "Event"): ("", "v1", "Event"),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): (
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
    ),
}


@dataclass(frozen=True, slots=True)
class Subresource:
    """``pods/eviction``: takes and gives documents of ``group``/``version``, Kind ``kind``."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """One collection of objects: ``/apis/apps/v1/…/deployments``."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ALL_VERBS
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=lambda: MappingProxyType({}))
    # The version objects are kept in where it is another one of the same group (custom resources).
    storage_version: str = ""

    @property
    def api_version(self) -> str:
        """``apps/v1``; ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def persisted(self) -> bool:
        """Objects of this kind are kept; reviews, bindings and component statuses are not."""
        return "create" in self.verbs and "get" in self.verbs

    @property
    def stored_as(self) -> tuple[str, str, str]:
        """Group, version and kind of the kept object; usually the resource's own."""
        own = (self.group, self.storage_version or self.version, self.kind)
        return _STORED_AS.get(own, own)

    @property
    def storage_hash(self) -> str:
        """Discovery's storageVersionHash; "" for what is not kept."""
        return storage_version_hash(*self.stored_as) if self.persisted else ""


def storage_version_hash(group: str, version: str, kind: str) -> str:
    """Discovery's storageVersionHash of a kind in the version it is stored in."""
    digest = hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


@cache
def resources() -> Sequence[Resource]:
    """All built-in resources, in the order of the group list, then by name."""
    found: list[Resource] = []
    for block in orjson.loads((DATA / "resources.json").read_bytes()):
        group, version = block["group"], block["version"]
        for row in block["resources"]:
            subresources = {
                name: Subresource(
                    name,
                    sub.get("group", group),
                    sub.get("version", version),
                    sub.get("kind", row["kind"]),
                    tuple(sub.get("verbs", _SUBRESOURCE_VERBS)),
                )
                for name, sub in row.get("subresources", {}).items()
            }
            found.append(
                Resource(
                    group,
                    version,
                    row["name"],
                    row["singular"],
                    row["kind"],
                    "cluster" not in row,
                    tuple(row.get("verbs", ALL_VERBS)),
                    tuple(row.get("short", ())),
                    tuple(row.get("categories", ())),
                    MappingProxyType(subresources),
                )
            )
    return tuple(found)


@cache
def _index() -> Mapping[tuple[str, str, str], Resource]:
    return {(r.group, r.version, r.plural): r for r in resources()}


@cache
def _group_versions() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for r in resources():
        versions = found.setdefault(r.group, [])
        if r.version not in versions:
            versions.append(r.version)
    return {group: tuple(versions) for group, versions in found.items()}


def resource(group: str, version: str, plural: str) -> Resource | None:
    """The built-in resource at that place; None where there is none."""
    return _index().get((group, version, plural))


def groups() -> Sequence[str]:
    """The built-in groups in priority order; the core group is ""."""
    return tuple(_group_versions())


def versions(group: str) -> Sequence[str]:
    """The served versions of a built-in group, the preferred one first; empty for other groups."""
    return _group_versions().get(group, ())


def preferred_version(group: str) -> str | None:
    """The version of a built-in group that clients should use; None for other groups."""
    found = versions(group)
    return found[0] if found else None
