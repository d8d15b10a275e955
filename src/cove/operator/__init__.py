"""Typed Kubernetes operators: entities, the CRDs made of them, and what watches them.

What is used is imported when it is first named: an operator that needs no CRDs does not load
what makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.operator.entities import (
        Condition,
        Entity,
        EntityInfo,
        ManagedFieldsEntry,
        MicroTime,
        ObjectMeta,
        ObjectReference,
        OwnerReference,
        Scale,
        Struct,
        changes,
        entity,
        field,
        from_document,
        from_json,
        info,
        merged,
        object_reference,
        owner_reference,
        to_document,
        with_owner,
    )
    from cove.operator.errors import DocumentError, EntityError, SchemaError
    from cove.operator.markers import (
        Column,
        Default,
        Description,
        Embedded,
        ExternalDocs,
        Float32,
        Format,
        Ignore,
        Immutable,
        Int32,
        IntOrString,
        Items,
        Length,
        ListAtomic,
        ListMap,
        ListSet,
        MapAtomic,
        MapGranular,
        Marker,
        MultipleOf,
        Nullable,
        Pattern,
        PreserveUnknown,
        Properties,
        Quantity,
        Range,
        Required,
        Rule,
        mark,
    )

_HOMES = {
    "cove.operator.entities": (
        "Condition Entity EntityInfo ManagedFieldsEntry MicroTime ObjectMeta ObjectReference "
        "OwnerReference Scale Struct changes entity field from_document from_json info merged "
        "object_reference owner_reference to_document with_owner"
    ),
    "cove.operator.errors": "DocumentError EntityError SchemaError",
    "cove.operator.markers": (
        "Column Default Description Embedded ExternalDocs Float32 Format Ignore Immutable Int32 "
        "IntOrString Items Length ListAtomic ListMap ListSet MapAtomic MapGranular Marker "
        "MultipleOf Nullable Pattern PreserveUnknown Properties Quantity Range Required Rule mark"
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = [
    "Column",
    "Condition",
    "Default",
    "Description",
    "DocumentError",
    "Embedded",
    "Entity",
    "EntityError",
    "EntityInfo",
    "ExternalDocs",
    "Float32",
    "Format",
    "Ignore",
    "Immutable",
    "Int32",
    "IntOrString",
    "Items",
    "Length",
    "ListAtomic",
    "ListMap",
    "ListSet",
    "ManagedFieldsEntry",
    "MapAtomic",
    "MapGranular",
    "Marker",
    "MicroTime",
    "MultipleOf",
    "Nullable",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "Pattern",
    "PreserveUnknown",
    "Properties",
    "Quantity",
    "Range",
    "Required",
    "Rule",
    "Scale",
    "SchemaError",
    "Struct",
    "changes",
    "entity",
    "field",
    "from_document",
    "from_json",
    "info",
    "mark",
    "merged",
    "object_reference",
    "owner_reference",
    "to_document",
    "with_owner",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'cove.operator' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
