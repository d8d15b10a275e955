"""Endpoint: one resource at one version, as the verbs use it.

It joins what is known about a kind — names, schema, strategy, where its objects are
stored — behind one interface, so that the verbs do not know built-in kinds from custom
resources: :class:`BuiltinEndpoint` here, the other in :mod:`cove.server.custom`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import catalogue, kinds
from cove.kube import status as st
from cove.kube.catalogue import Subresource, codec
from cove.kube.kinds._kind import Column, Kind, Obj
from cove.kube.schema import Node
from cove.kube.status import StatusError, resource_name
from cove.server.request import Info

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.store import Stored

__all__ = ["BuiltinEndpoint", "Endpoint", "storage_key"]


def storage_key(plural: str, group: str) -> str:
    """The store's name of a resource: "pods", "deployments.apps"."""
    return resource_name(plural, group)


class Endpoint:
    """A resource at one version.

    ``storage`` is the store's key; ``head`` the JSON that opens an encoded object
    (``{"kind":…,"apiVersion":…,``): objects are stored without it.  ``typed_items`` tells
    whether the items of a list carry it.  ``identity`` tells that stored bytes are already
    in this version.
    """

    custom = False
    typed_items = False
    # Other versions have to be asked for: before :meth:`load`, :meth:`render` and
    # :meth:`encode`, which do not await.
    converts = False
    # What every request for the resource is warned with; "" for nothing.
    warning = ""

    def __init__(
        self,
        group: str,
        version: str,
        plural: str,
        singular: str,
        kind_name: str,
        namespaced: bool,
        *,
        storage: str,
        storage_version: str,
        list_kind: str = "",
        verbs: Sequence[str] = (),
        subresources: Mapping[str, Subresource] | None = None,
    ) -> None:
        self.group = group
        self.version = version
        self.plural = plural
        self.singular = singular
        self.kind_name = kind_name
        self.list_kind = list_kind or kind_name + "List"
        self.namespaced = namespaced
        self.api_version = f"{group}/{version}" if group else version
        self.storage = storage
        # The apiVersion that stored bytes are in, without their head.
        self.storage_version = storage_version
        self.identity = storage_version == self.api_version
        self.verbs = frozenset(verbs)
        self.subresources: Mapping[str, Subresource] = subresources or {}
        # The kind notes who asked for an object: CertificateSigningRequests.
        self.stamps_requester = plural == "certificatesigningrequests"
        # The text of a Warning header that every request to the resource gets, "" for none.
        self.deprecation = ""
        self.head = orjson.dumps({"kind": kind_name, "apiVersion": self.api_version})[:-1] + b","

    def serves(self, info: Info) -> bool:
        """Whether the path of a request is one of the resource's; False answers plain 404."""
        return True

    # -- what differs between built-in and custom kinds

    @property
    def schema(self) -> Node:
        """The type of the documents, for patches and server-side apply."""
        raise NotImplementedError

    @property
    def kind(self) -> Kind:
        """Defaulting, validation, tables."""
        raise NotImplementedError

    def decode(
        self,
        doc: Any,
        validation: str,
        *,
        raw: bytes | None = None,
        problems: Sequence[str] = (),
    ) -> tuple[Obj, Sequence[str]]:
        """A document of a request in normal form, and what was wrong but is let pass.

        ``raw`` is the JSON text it came from, ``problems`` what reading it found already.
        Raises DecodeError (400) when the document does not fit the type, and for any
        problem under "Strict".
        """
        raise NotImplementedError

    def decode_patched(self, doc: Obj, validation: str) -> tuple[Obj, Sequence[str]]:
        """The outcome of a strategic merge patch in normal form; errors as :meth:`decode`'s."""
        return self.decode(doc, validation)

    def convert(self, obj: Obj, api_version: str) -> Obj:
        """The object in another version of its kind; ``obj`` itself if it is that already."""
        raise NotImplementedError

    async def convertible(self, api: Api, objects: Iterable[Obj | None], api_version: str) -> None:
        """Have what :meth:`convert` needs for these objects: it does not await.

        Raises what a conversion that takes asking somebody can raise.
        """

    async def shown(self, api: Api, items: Sequence[Stored]) -> list[Stored]:
        """Stored objects in this version, where :attr:`converts` says that it has to be asked for."""
        return list(items)

    def current(self, data: bytes) -> bool:
        """Whether stored bytes are in the version that would be stored now."""
        return True

    def as_stored(self) -> Endpoint:
        """The same resource, its objects left in the version they are stored in."""
        return self

    def schema_at(self, api_version: str) -> Node | None:
        """The type of another version, None if it is not served any more."""
        raise NotImplementedError

    def not_found(self, name: str) -> StatusError:
        """404 for an object of this resource."""
        return st.not_found(self.plural, self.group, name)

    # -- encoding

    def encode(self, obj: Obj) -> bytes:
        """What is stored: the object without kind and apiVersion, in the storage version."""
        if not self.identity:
            obj = self.convert(obj, self.storage_version)
        meta = obj["metadata"]
        doc: Obj = {"metadata": {k: meta[k] for k in _META_ORDER if k in meta}}
        for key, value in obj.items():
            if key not in _HEAD:
                doc[key] = value
        # Copied, since orjson's own bytes keep the whole buffer they were written to (8 KiB).
        return bytes(memoryview(orjson.dumps(doc)))

    def load(self, data: bytes) -> Obj:
        """A stored object in this version, kind and apiVersion included."""
        obj: Obj = {"kind": self.kind_name, "apiVersion": self.api_version}
        if self.identity:
            obj.update(orjson.loads(data))
            return obj
        stored: Obj = {"kind": self.kind_name, "apiVersion": self.storage_version}
        stored.update(orjson.loads(data))
        return self.convert(stored, self.api_version)

    def render(self, data: bytes) -> bytes:
        """A stored object as it is answered; the bytes are not decoded if they fit."""
        if self.identity:
            return self.head + data[1:]
        return orjson.dumps(self.load(data))

    def columns(self) -> Sequence[Column]:
        """The columns of its Table."""
        return self.kind.columns

    def selectable(self) -> Mapping[str, Any]:
        """Field labels beyond metadata.name and metadata.namespace that selectors may name."""
        return self.kind.selectable

    def fields_of(self, obj: Obj) -> Mapping[str, str] | None:
        """What field selectors may ask of an object, None for a kind without labels of its own."""
        if not self.selectable():
            return None
        return self.kind.index_fields(obj)


_HEAD = frozenset(("kind", "apiVersion", "metadata"))
# The order in which Go writes ObjectMeta; nothing else can be in it.
_META_ORDER = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


_DEPRECATIONS = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
}


class BuiltinEndpoint(Endpoint):
    """A kind of the catalogue."""

    def __init__(self, resource: catalogue.Resource, storage: str, storage_version: str) -> None:
        super().__init__(
            resource.group,
            resource.version,
            resource.plural,
            resource.singular,
            resource.kind,
            resource.namespaced,
            storage=storage,
            storage_version=storage_version,
            verbs=resource.verbs,
            subresources=resource.subresources,
        )
        self._schema: Node | None = None
        self._kind: Kind | None = None
        self.deprecation = _DEPRECATIONS.get(self.storage, "") if not self.group else ""

    @property
    def schema(self) -> Node:
        node = self._schema
        if node is None:
            node = self._schema = catalogue.schema(self.group, self.version, self.kind_name)
        return node

    @property
    def kind(self) -> Kind:
        kind = self._kind
        if kind is None:
            kind = self._kind = kinds.kind(self.group, self.kind_name)
        return kind

    def decode(
        self,
        doc: Any,
        validation: str,
        *,
        raw: bytes | None = None,
        problems: Sequence[str] = (),
    ) -> tuple[Obj, Sequence[str]]:
        return codec.decode(
            doc,
            self.schema,
            kind=self.kind_name,
            api_version=self.api_version,
            field_validation=validation,  # type: ignore[arg-type]  # checked with the options
            raw=raw,
            problems=problems,
        )

    def decode_patched(self, doc: Obj, validation: str) -> tuple[Obj, Sequence[str]]:
        return codec.convert(
            doc,
            self.schema,
            kind=self.kind_name,
            api_version=self.api_version,
            field_validation=validation,  # type: ignore[arg-type]  # checked with the options
        )

    def convert(self, obj: Obj, api_version: str) -> Obj:
        if obj.get("apiVersion") == api_version:
            return obj
        return self.kind.convert(obj, api_version)

    def schema_at(self, api_version: str) -> Node | None:
        if api_version == self.api_version:
            return self.schema
        group, _, version = api_version.rpartition("/")
        try:
            return catalogue.schema(group, version, self.kind_name)
        except KeyError:
            return None
