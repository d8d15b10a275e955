"""Custom resources: endpoints made of the CRDs in the store.

What is made of a CRD is kept for as long as the stored object is the same, and the
compiled schemas for as long as their text is: a CRD whose status changes, a fork, a
rollback cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import catalogue
from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.catalogue import Subresource, codec, openapi
from cove.kube.catalogue._compile import MismatchError, compiled
from cove.kube.catalogue._explain import JSONWalk, RejectedError
from cove.kube.catalogue._text import may_repeat
from cove.kube.catalogue.discovery import CUSTOM_VERBS, ExtraGroup
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.schema import Node
from cove.kube.structural import (
    EmbeddedMetadataError,
    Schema,
    normalize,
    to_node,
    unknown_fields,
)
from cove.server.conversion import ConversionNeeded, document_key
from cove.server.crd import SUBRESOURCE_VERBS, Crd, Snapshot
from cove.server.custom_kind import CustomKind
from cove.server.endpoint import Endpoint
from cove.server.request import Info
from cove.server.store import Stored

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["CRDS", "CustomEndpoint", "CustomResources"]

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_ACROSS = frozenset(("list", "watch"))
# How many stored objects are remembered to be in normal form.
_NORMAL = 1 << 16


def object_meta() -> Node:
    """The type of metadata."""
    return catalogue.schema("", "v1", "ConfigMap").fields["metadata"].node


class CustomEndpoint(Endpoint):
    """One version of a custom resource."""

    custom = True
    typed_items = True

    def __init__(
        self,
        crd: Crd,
        version: Mapping[str, Any],
        *,
        fresh: bool = False,
        unconverted: bool = False,
    ) -> None:
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
                "status", crd.group, version["name"], names["kind"], SUBRESOURCE_VERBS
            )
        if kind.scale is not None:
            subresources["scale"] = Subresource(
                "scale", "autoscaling", "v1", "Scale", SUBRESOURCE_VERBS
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
        # Stored bytes say their version, so that they outlive a change of the storage version.
        self.head = orjson.dumps({"kind": self.kind_name})[:-1] + b","
        self._mark = _mark(self.api_version)
        self._storage_mark = _mark(self.storage_version)
        self._unconverted = unconverted
        self.converts = crd.converter is not None and not unconverted
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
        converter = self._crd.converter
        if converter is None:
            found: Obj | None = obj
        else:
            found = converter.known(document_key(obj), api_version)
        if found is None:
            raise ConversionNeeded(self, obj, api_version)
        pruned, _ = normalize(self._crd.schema(version), found, fill=False)
        return {**pruned, "apiVersion": api_version}

    async def convertible(self, api: Api, objects: Iterable[Obj | None], api_version: str) -> None:
        converter = self._crd.converter
        if converter is None:
            return
        asked = [
            (document_key(obj), obj)
            for obj in objects
            if obj is not None
            and obj.get("kind") == self.kind_name
            and obj.get("apiVersion") != api_version
        ]
        if asked:
            await converter.convert(api, asked, api_version)

    def as_stored(self) -> CustomEndpoint:
        return self._crd.as_stored()

    async def shown(self, api: Api, items: Sequence[Stored]) -> list[Stored]:
        converter = self._crd.converter
        assert converter is not None
        out = list(items)
        places = [i for i, stored in enumerate(out) if not stored.data.startswith(self._mark)]
        if not places:
            return out
        asked = [(out[i].data, self._stored(out[i].data)) for i in places]
        others = [(key, obj) for key, obj in asked if obj["apiVersion"] != self.api_version]
        made = iter(await converter.convert(api, others, self.api_version) if others else ())
        for i, (_, obj) in zip(places, asked, strict=True):
            if obj["apiVersion"] != self.api_version:
                obj, _ = normalize(self._structural, next(made), fill=False)
            out[i] = self._instead(out[i], obj)
        return out

    def _instead(self, stored: Stored, obj: Obj) -> Stored:
        """A stored object in this version."""
        data = _dump({**obj, "apiVersion": self.api_version})
        self._remember(data)
        return stored.of(data, obj["metadata"].get("labels"), self.fields_of(obj))

    def fields_of(self, obj: Obj) -> Mapping[str, str] | None:
        if obj.get("apiVersion") == self.api_version or self._unconverted:
            return super().fields_of(obj)
        return self._crd.as_stored().fields_of(obj)

    def encode(self, obj: Obj) -> bytes:
        if obj.get("apiVersion") != self.storage_version and not self._unconverted:
            obj = self.convert(obj, self.storage_version)
        data = _dump(obj)
        if self._is_storage and not self.identity:
            self._remember(data)
        return data

    def current(self, data: bytes) -> bool:
        return data.startswith(self._storage_mark)

    def _remember(self, data: bytes) -> None:
        if len(self._normal) >= _NORMAL:
            self._normal.clear()
        self._normal[id(data)] = data

    def _stored(self, data: bytes) -> Obj:
        """A stored object in the version it is stored in, in normal form."""
        obj: Obj = {"kind": self.kind_name, "apiVersion": self.storage_version}
        obj.update(orjson.loads(data))
        if self.identity or id(data) in self._normal:
            return obj
        version = obj["apiVersion"].rpartition("/")[2]
        # A version that the CRD has no more is taken for what would be stored now.
        if version not in self._crd.versions:
            version = self._crd.storage_version
            obj["apiVersion"] = self.storage_version
        found, _ = normalize(self._crd.schema(version), obj)
        if found is obj and data.startswith(self._mark):
            self._remember(data)
        return found

    def load(self, data: bytes) -> Obj:
        obj = self._stored(data)
        if self._unconverted:
            return obj
        if obj["apiVersion"] != self.api_version:
            converter = self._crd.converter
            known = None if converter is None else converter.known(data, self.api_version)
            if known is None:
                return self.convert(obj, self.api_version)
            return {**normalize(self._structural, known, fill=False)[0]}
        return obj

    def render(self, data: bytes) -> bytes:
        if data.startswith(self._mark) and (self.identity or id(data) in self._normal):
            return self.head + data[1:]
        return orjson.dumps(self.load(data))


def _mark(api_version: str) -> bytes:
    """What stored bytes begin with."""
    return orjson.dumps({"apiVersion": api_version})[:-1] + b","


def _dump(obj: Obj) -> bytes:
    """What is stored: the version first, the kind not at all."""
    doc = {"apiVersion": obj["apiVersion"]}
    doc.update((k, v) for k, v in obj.items() if k not in ("kind", "apiVersion"))
    return orjson.dumps(doc)


def _wrapped(node: Node) -> Node:
    from cove.kube.schema import Field

    found: Node | None = node.cache.get("custom/metadata")
    if found is None:
        field = Field("metadata", node, go_type="v1.ObjectMeta")
        found = node.cache["custom/metadata"] = Node("struct", fields={"metadata": field})
    return found


_EMPTY = Snapshot(None, ())


class CustomResources:
    """The custom resources of clusters: one instance serves a cluster and its forks."""

    def __init__(self) -> None:
        self._snapshots: dict[int, Snapshot] = {}
        self._crds: dict[int, Crd] = {}
        self._schemas: dict[bytes, Schema] = {}

    def snapshot(self, api: Api) -> Snapshot:
        """What is served now."""
        bucket = api.store.state.root.get(CRDS)
        if bucket is None:
            return _EMPTY
        found = self._snapshots.get(id(bucket))
        if found is not None:
            return found
        crds = [self._crd(stored) for stored in bucket.get("", {}).values()]
        found = Snapshot(bucket, crds)
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
        """An endpoint through which the instances of a CRD can be read, served or not.

        It leaves them in the versions they are stored in.
        """
        crd = self.snapshot(api).by_storage.get(storage)
        if crd is None or not crd.names.get("kind") or not crd.storage_version:
            return None
        return crd.as_stored()

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
