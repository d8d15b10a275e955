"""Custom resources: endpoints made of the CRDs in the store.

What is made of a CRD is kept for as long as the stored object is the same, and the
compiled schemas for as long as their text is: a CRD whose status changes, a fork, a
rollback cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import catalogue
from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.catalogue import Resource, Subresource, codec, openapi
from cove.kube.catalogue._compile import MismatchError, compiled
from cove.kube.catalogue._explain import JSONWalk, RejectedError
from cove.kube.catalogue._text import may_repeat
from cove.kube.catalogue.discovery import CUSTOM_VERBS, ExtraGroup, ExtraVersion
from cove.kube.gvk import version_priority
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.schema import Node
from cove.kube.status import StatusError
from cove.kube.structural import (
    EmbeddedMetadataError,
    Schema,
    normalize,
    parse,
    to_node,
    unknown_fields,
)
from cove.server.custom_kind import CustomKind
from cove.server.endpoint import Endpoint, storage_key
from cove.server.request import Info

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.store import Stored

__all__ = ["CRDS", "CustomEndpoint", "CustomResources"]

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_SUBRESOURCE_VERBS = ("get", "patch", "update")
_TERMINATING_VERBS = ("delete", "deletecollection", "get", "list", "watch")
_ACROSS = frozenset(("list", "watch"))
# How many stored objects are remembered to be in normal form.
_NORMAL = 1 << 16
_NOTHING: Mapping[str, Any] = {"x-kubernetes-preserve-unknown-fields": True, "type": "object"}


def object_meta() -> Node:
    """The type of metadata."""
    return catalogue.schema("", "v1", "ConfigMap").fields["metadata"].node


class CustomEndpoint(Endpoint):
    """One version of a custom resource."""

    custom = True
    typed_items = True

    def __init__(self, crd: Crd, version: Mapping[str, Any], *, fresh: bool) -> None:
        names = crd.names
        self._crd = crd
        self._structural = crd.schema(version["name"])
        kind = CustomKind(
            crd.group,
            names["kind"],
            names["plural"],
            version,
            self._structural,
            terminating=crd.terminating,
        )
        subresources = {}
        if kind.status:
            subresources["status"] = Subresource(
                "status", crd.group, version["name"], names["kind"], _SUBRESOURCE_VERBS
            )
        if kind.scale is not None:
            subresources["scale"] = Subresource(
                "scale", "autoscaling", "v1", "Scale", _SUBRESOURCE_VERBS
            )
        super().__init__(
            crd.group,
            version["name"],
            names["plural"],
            names.get("singular") or "",
            names["kind"],
            crd.namespaced,
            storage=crd.storage,
            storage_version=f"{crd.group}/{crd.storage_version}",
            list_kind=names.get("listKind") or "",
            verbs=CUSTOM_VERBS,
            subresources=subresources,
        )
        self._custom_kind = kind
        self._is_storage = self.identity
        # Stored bytes can be answered as they are if nothing but this wrote them.
        self.identity = self._is_storage and fresh
        self._normal: dict[int, bytes] = {}
        self.warning = crd.deprecation(version)

    @property
    def schema(self) -> Node:
        return to_node(self._structural, object_meta())

    @property
    def kind(self) -> Kind:
        return self._custom_kind

    @property
    def scale(self) -> Mapping[str, Any] | None:
        """The scale subresource's paths, None without it."""
        return self._custom_kind.scale

    def serves(self, info: Info) -> bool:
        """Whether the path of a request fits the scope."""
        if not self.namespaced:
            return not info.namespace
        return bool(info.namespace) or info.verb in _ACROSS

    def schema_at(self, api_version: str) -> Node | None:
        group, _, version = api_version.rpartition("/")
        if group != self.group or version not in self._crd.versions:
            return None
        return to_node(self._crd.schema(version), object_meta())

    # -- documents

    def decode(
        self,
        doc: Any,
        validation: str,
        *,
        raw: bytes | None = None,
        problems: Sequence[str] = (),
    ) -> tuple[Obj, Sequence[str]]:
        kind, version = self.kind_name, self.version
        if doc.get("kind") != kind:
            given = doc.get("kind")
            error = fe.invalid("kind", given, f"must be {kind}")
            name = (doc.get("metadata") or {}).get("name", "")
            raise st.invalid(str(given), self.group, name, [error])
        unknown: list[str] = []
        meta, meta_problems = self._metadata(doc.get("metadata"))
        try:
            obj, dropped = normalize(self._structural, doc)
        except EmbeddedMetadataError as error:
            raise codec.DecodeError(kind, version, kind, str(error)) from None
        obj = dict(obj)
        obj["metadata"] = meta
        if validation == "Ignore":
            return obj, ()
        if raw is not None and may_repeat(raw, doc):
            unknown += [p for p in codec.find_duplicate_fields(raw) if p not in problems]
        unknown += meta_problems
        if dropped:
            unknown += [f'unknown field "{p}"' for p in unknown_fields(self._structural, doc)]
        found = [*problems, *unknown]
        if found and validation == "Strict":
            raise codec.DecodeError(kind, version, kind, codec.strict_error(found))
        return obj, found

    def _metadata(self, value: Any) -> tuple[Obj, list[str]]:
        node = object_meta()
        unknown: list[str] = []
        try:
            meta = dict(compiled(node)(value if value is not None else {}, unknown))
        except MismatchError:
            self._refuse_metadata(value, node)
            raise
        if not unknown:
            return meta, []
        walk = JSONWalk()
        walk.run({"metadata": value}, _wrapped(node), "v1.ObjectMeta")
        return meta, [p for p in walk.problems if p.startswith("unknown field")]

    def _refuse_metadata(self, value: Any, node: Node) -> None:
        try:
            JSONWalk().run(value, node, "v1.ObjectMeta")
        except RejectedError as error:
            kind = self.kind_name
            raise codec.DecodeError(kind, self.version, kind, str(error)) from None

    def convert(self, obj: Obj, api_version: str) -> Obj:
        if obj.get("apiVersion") == api_version:
            return obj
        version = api_version.rpartition("/")[2]
        if version not in self._crd.versions:
            raise st.not_found_generic()
        self._crd.check_conversion(str(obj.get("apiVersion")), api_version)
        found, _ = normalize(self._crd.schema(version), obj, fill=False)
        return {**found, "apiVersion": api_version}

    def encode(self, obj: Obj) -> bytes:
        if not self._is_storage:
            obj = self.convert(obj, self.storage_version)
        data = orjson.dumps({k: v for k, v in obj.items() if k not in ("kind", "apiVersion")})
        if self._is_storage and not self.identity:
            self._remember(data)
        return data

    def _remember(self, data: bytes) -> None:
        if len(self._normal) >= _NORMAL:
            self._normal.clear()
        self._normal[id(data)] = data

    def load(self, data: bytes) -> Obj:
        obj: Obj = {"kind": self.kind_name, "apiVersion": self.storage_version}
        obj.update(orjson.loads(data))
        if self.identity or id(data) in self._normal:
            return obj
        found, _ = normalize(self._crd.schema(self._crd.storage_version), obj)
        if not self._is_storage:
            return self.convert(found, self.api_version)
        if found is obj:
            self._remember(data)
        return found

    def render(self, data: bytes) -> bytes:
        if self.identity or id(data) in self._normal:
            return self.head + data[1:]
        obj = self.load(data)
        if id(data) in self._normal:
            return self.head + data[1:]
        return orjson.dumps(obj)


def _wrapped(node: Node) -> Node:
    from cove.kube.schema import Field

    found: Node | None = node.cache.get("custom/metadata")
    if found is None:
        field = Field("metadata", node, go_type="v1.ObjectMeta")
        found = node.cache["custom/metadata"] = Node("struct", fields={"metadata": field})
    return found


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

    def check_conversion(self, have: str, want: str) -> None:
        """Raise 500 where converting takes a webhook."""
        conversion = self.spec.get("conversion") or {}
        if conversion.get("strategy") == "Webhook":
            raise StatusError(
                500,
                "",
                f"conversion webhook for {have}, Kind={self.spec['names']['kind']} failed: "
                f"no webhook is called to convert to {want}",
            )

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


class _Snapshot:
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
                    "status", group, version, kind, _SUBRESOURCE_VERBS
                )
            if found.get("scale") is not None:
                subresources["scale"] = Subresource(
                    "scale", "autoscaling", "v1", "Scale", _SUBRESOURCE_VERBS
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


_EMPTY = _Snapshot(None, ())


class CustomResources:
    """The custom resources of clusters: one instance serves a cluster and its forks."""

    def __init__(self) -> None:
        self._snapshots: dict[int, _Snapshot] = {}
        self._crds: dict[int, Crd] = {}
        self._schemas: dict[bytes, Schema] = {}

    def snapshot(self, api: Api) -> _Snapshot:
        """What is served now."""
        bucket = api.store.state.root.get(CRDS)
        if bucket is None:
            return _EMPTY
        found = self._snapshots.get(id(bucket))
        if found is not None:
            return found
        crds = [self._crd(stored) for stored in bucket.get("", {}).values()]
        found = _Snapshot(bucket, crds)
        if len(self._snapshots) >= 64:
            self._snapshots.pop(next(iter(self._snapshots)))
        self._snapshots[id(bucket)] = found
        return found

    def _crd(self, stored: Stored) -> Crd:
        found = self._crds.get(id(stored))
        if found is None or found.stored is not stored:
            if len(self._crds) >= 2048:
                self._crds.pop(next(iter(self._crds)))
            found = self._crds[id(stored)] = Crd(stored, self._schemas)
        return found

    def find(self, api: Api, group: str, version: str, plural: str) -> CustomEndpoint | None:
        """The endpoint of a custom resource, None if no CRD serves it."""
        crd = self.snapshot(api).by_resource.get((group, plural))
        if crd is None:
            return None
        endpoint = crd.endpoints.get(version)
        if endpoint is None:
            if version not in crd.served:
                return None
            # Objects from before may be of another schema, or written in another version.
            fresh = len(crd.versions) == 1 and not api.store.state.count(crd.storage)
            endpoint = crd.endpoints[version] = CustomEndpoint(
                crd, crd.versions[version], fresh=fresh
            )
        return endpoint

    def endpoint_of(self, api: Api, storage: str) -> CustomEndpoint | None:
        """An endpoint through which the instances of a CRD can be read, served or not."""
        crd = self.snapshot(api).by_storage.get(storage)
        if crd is None or not crd.names.get("kind") or not crd.storage_version:
            return None
        return CustomEndpoint(crd, crd.versions[crd.storage_version], fresh=False)

    def has_version(self, api: Api, group: str, version: str) -> bool:
        """Whether some CRD serves the version."""
        return version in self.snapshot(api).groups.get(group, ())

    def groups(self, api: Api) -> Mapping[str, Sequence[str]]:
        """Group → served versions, the preferred first."""
        return self.snapshot(api).groups

    def discovery(self, api: Api) -> Sequence[ExtraGroup]:
        """What discovery says of them."""
        return self.snapshot(api).discovery()

    def kinds(self, api: Api) -> Sequence[openapi.CustomKind]:
        """What OpenAPI documents say of them."""
        return self.snapshot(api).kinds()
