"""Typed objects: what they are made of, their documents, what refers to them.

::

    @entity("cache.example.com/v1")
    class Cache(Entity):
        spec: CacheSpec
        status: CacheStatus = CacheStatus()

    cache = from_document(Cache, doc)

Pure: nothing here talks to a cluster.
"""

from __future__ import annotations

from cove.operator.entities._changes import changes, merged
from cove.operator.entities._documents import from_document, from_json, to_document
from cove.operator.entities._entity import (
    Entity,
    EntityInfo,
    Kind,
    Scale,
    Scope,
    builtin,
    entity,
    info,
)
from cove.operator.entities._metadata import (
    Condition,
    ManagedFieldsEntry,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
)
from cove.operator.entities._references import object_reference, owner_reference, with_owner
from cove.operator.entities._struct import Part, Struct, field
from cove.operator.entities._values import MicroTime

__all__ = [
    "Condition",
    "Entity",
    "EntityInfo",
    "Kind",
    "ManagedFieldsEntry",
    "MicroTime",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "Part",
    "Scale",
    "Scope",
    "Struct",
    "builtin",
    "changes",
    "entity",
    "field",
    "from_document",
    "from_json",
    "info",
    "merged",
    "object_reference",
    "owner_reference",
    "to_document",
    "with_owner",
]
