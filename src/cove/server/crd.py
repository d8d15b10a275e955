"""A stored CRD as far as serving it goes, and what all of a cluster's CRDs serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.catalogue import Resource, Subresource, openapi
from cove.kube.catalogue.discovery import CUSTOM_VERBS, ExtraGroup, ExtraVersion
from cove.kube.gvk import version_priority
from cove.kube.structural import Schema, parse
from cove.server.conversion import Converter
from cove.server.endpoint import storage_key

if TYPE_CHECKING:
    from cove.server.custom import CustomEndpoint
    from cove.server.store import Stored

__all__ = ["SUBRESOURCE_VERBS", "Crd", "Snapshot"]

SUBRESOURCE_VERBS = ("get", "patch", "update")
_TERMINATING_VERBS = ("delete", "deletecollection", "get", "list", "watch")
_NOTHING: Mapping[str, Any] = {"x-kubernetes-preserve-unknown-fields": True, "type": "object"}


class Crd:
    """A stored CRD, as far as serving it goes."""

    def __init__(self, stored: Stored, schemas: dict[bytes, Schema]) -> None:
        doc = orjson.loads(stored.data)
        self.stored = stored
        self.name = stored.name
        self.spec: Mapping[str, Any] = doc["spec"]
        self.status: Mapping[str, Any] = doc.get("status") or {}
        self.group: str = self.spec["group"]
        self.names: Mapping[str, Any] = self.status.get("acceptedNames") or {}
        self.namespaced = self.spec.get("scope") == "Namespaced"
        self.versions = {v["name"]: v for v in self.spec.get("versions") or ()}
        self.storage_version: str = next(
            (v["name"] for v in self.versions.values() if v.get("storage")), ""
        )
        self.storage = storage_key(self.spec["names"]["plural"], self.group)
        self.terminating = "deletionTimestamp" in doc["metadata"] or self.condition("Terminating")
        self.established = self.condition("Established")
        self.serving = self.established or self.condition("NamesAccepted")
        self.served = sorted(
            (n for n, v in self.versions.items() if v.get("served")), key=version_priority
        )
        self._schemas = schemas
        self._own: dict[str, Schema] = {}
        self.endpoints: dict[str, CustomEndpoint] = {}
        # Reads and writes instances in whatever version they are stored.
        self.unconverted: CustomEndpoint | None = None
        conversion = self.spec.get("conversion") or {}
        webhook = conversion.get("webhook")
        # Who is asked for other versions; None: they differ in nothing but their name.
        self.converter = (
            Converter(self.spec["names"]["kind"], webhook)
            if conversion.get("strategy") == "Webhook" and webhook
            else None
        )

    def condition(self, kind: str) -> bool:
        """Whether a condition is true."""
        return any(
            c.get("type") == kind and c.get("status") == "True"
            for c in self.status.get("conditions") or ()
        )

    def schema(self, version: str) -> Schema:
        """The compiled schema of a version."""
        found = self._own.get(version)
        if found is None:
            document = (self.versions[version].get("schema") or {}).get("openAPIV3Schema")
            if not isinstance(document, Mapping):
                document = _NOTHING
            key = orjson.dumps(document)
            found = self._schemas.get(key)
            if found is None:
                if len(self._schemas) >= 1024:
                    self._schemas.pop(next(iter(self._schemas)))
                found = self._schemas[key] = parse(document)
            self._own[version] = found
        return found

    def as_stored(self) -> CustomEndpoint:
        """What reads and writes instances in whatever version they are stored."""
        from cove.server.custom import CustomEndpoint

        if self.unconverted is None:
            version = self.versions[self.storage_version]
            self.unconverted = CustomEndpoint(self, version, unconverted=True)
        return self.unconverted

    def deprecation(self, version: Mapping[str, Any]) -> str:
        """The text that requests of a deprecated version are warned with, else ""."""
        if not version.get("deprecated"):
            return ""
        own = version.get("deprecationWarning")
        if own is not None:
            return str(own)
        kind = self.spec["names"]["kind"]
        text = f"{self.group}/{version['name']} {kind} is deprecated"
        better = [
            name
            for name in self.served
            if not self.versions[name].get("deprecated")
            and version_priority(name) < version_priority(version["name"])
        ]
        return f"{text}; use {self.group}/{better[0]} {kind}" if better else text


class Snapshot:
    """What a set of CRDs serves."""

    def __init__(self, bucket: Any, crds: Sequence[Crd]) -> None:
        # Held so that the bucket's identity stays its own.
        self.bucket = bucket
        self.crds = sorted(crds, key=lambda c: c.name)
        self.by_resource = {(c.group, c.names.get("plural")): c for c in crds if c.serving}
        self.by_storage = {c.storage: c for c in crds}
        self.groups: dict[str, list[str]] = {}
        for crd in self.crds:
            if crd.established:
                known = self.groups.setdefault(crd.group, [])
                known += [v for v in crd.served if v not in known]
        for versions in self.groups.values():
            versions.sort(key=version_priority)
        self.groups = {g: v for g, v in self.groups.items() if v}
        self._discovery: tuple[ExtraGroup, ...] | None = None
        self._kinds: tuple[openapi.CustomKind, ...] | None = None

    def discovery(self) -> tuple[ExtraGroup, ...]:
        if self._discovery is None:
            self._discovery = tuple(
                ExtraGroup(
                    group,
                    tuple(
                        ExtraVersion(version, tuple(self._resources(group, version)))
                        for version in versions
                    ),
                )
                for group, versions in self.groups.items()
            )
        return self._discovery

    def _resources(self, group: str, version: str) -> list[Resource]:
        out = []
        for crd in self.crds:
            if crd.group != group or not crd.established or version not in crd.served:
                continue
            kind = str(crd.names.get("kind"))
            found = crd.versions[version].get("subresources") or {}
            subresources = {}
            if found.get("status") is not None:
                subresources["status"] = Subresource(
                    "status", group, version, kind, SUBRESOURCE_VERBS
                )
            if found.get("scale") is not None:
                subresources["scale"] = Subresource(
                    "scale", "autoscaling", "v1", "Scale", SUBRESOURCE_VERBS
                )
            out.append(
                Resource(
                    group,
                    version,
                    str(crd.names.get("plural")),
                    crd.names.get("singular") or "",
                    kind,
                    crd.namespaced,
                    verbs=_TERMINATING_VERBS if crd.condition("Terminating") else CUSTOM_VERBS,
                    short_names=tuple(crd.names.get("shortNames") or ()),
                    categories=tuple(crd.names.get("categories") or ()),
                    subresources=subresources,
                    storage_version=crd.storage_version,
                )
            )
        return out

    def kinds(self) -> tuple[openapi.CustomKind, ...]:
        """What OpenAPI documents say of them."""
        if self._kinds is None:
            self._kinds = tuple(
                openapi.CustomKind(
                    crd.group,
                    name,
                    str(crd.names.get("kind")),
                    str(crd.names.get("plural")),
                    crd.namespaced,
                    (crd.versions[name].get("schema") or {}).get("openAPIV3Schema"),
                    tuple(
                        sub
                        for sub in ("status", "scale")
                        if (crd.versions[name].get("subresources") or {}).get(sub) is not None
                    ),
                    crd.names.get("listKind") or "",
                )
                for crd in self.crds
                if crd.established
                for name in crd.served
            )
        return self._kinds
