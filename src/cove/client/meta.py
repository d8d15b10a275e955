"""ObjectMeta: an object's metadata as typed values.

Documents stay plain dictionaries; :func:`meta` reads the metadata of one at the edge
where types help.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["ObjectMeta", "OwnerReference", "controller_of", "key_of", "meta", "owner_reference"]

Doc = dict[str, Any]


class OwnerReference(msgspec.Struct, frozen=True, rename="camel"):
    """Who an object belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """Metadata; times are RFC 3339 texts, "" or empty where the document says nothing."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []


def meta(obj: Doc) -> ObjectMeta:
    """The typed metadata of a document."""
    return msgspec.convert(obj["metadata"], ObjectMeta)


def key_of(obj: Doc) -> str:
    """``namespace/name``, or the name of a cluster-scoped object: informers' and queues' key."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else metadata["name"]


def controller_of(obj: Doc) -> Doc | None:
    """The owner reference that is the controller, None if there is none."""
    for owner in obj["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return owner  # type: ignore[no-any-return]
    return None


def owner_reference(obj: Doc, api_version: str, kind: str) -> Doc:
    """The reference of a controller to put into what it makes."""
    metadata = obj["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
