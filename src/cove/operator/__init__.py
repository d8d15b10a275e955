"""Typed Kubernetes operators: entities, the CRDs made of them, and what watches them.

What is used is imported when it is first named: an operator that needs no CRDs does not load
what makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.client import Client
    from cove.operator.conditions import condition, is_true, set_condition
    from cove.operator.definitions import crd, crds
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
        EmbeddedResource,
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
    from cove.operator.operator import Operator
    from cove.operator.rbac import Audit, Rbac, RbacRule
    from cove.operator.runtime.api import Api
    from cove.operator.runtime.context import Ctx
    from cove.operator.runtime.inject import InjectionError
    from cove.operator.runtime.predicates import (
        Change,
        annotations_changed,
        any_of,
        everything,
        generation_changed,
        labels_changed,
    )
    from cove.operator.runtime.registry import Watch
    from cove.operator.runtime.results import (
        Result,
        Retry,
        RetryError,
        TerminalError,
        requeue,
    )
    from cove.operator.runtime.runtime import Runtime
    from cove.operator.runtime.stores import Store, Stores
    from cove.operator.schema import schema_of
    from cove.operator.settings import Leadership, Settings
    from cove.operator.webhooks import (
        AdmissionRequest,
        Denied,
        Invalid,
        Webhooks,
        check_round_trip,
    )

_HOMES = {
    "cove.operator.definitions": "crd crds",
    "cove.operator.entities": (
        "Condition Entity EntityInfo ManagedFieldsEntry MicroTime ObjectMeta ObjectReference "
        "OwnerReference Scale Struct changes entity field from_document from_json info merged "
        "object_reference owner_reference to_document with_owner"
    ),
    "cove.operator.errors": "DocumentError EntityError SchemaError",
    "cove.operator.markers": (
        "Column Default Description Embedded EmbeddedResource ExternalDocs Float32 Format Ignore "
        "Immutable Int32 IntOrString Items Length ListAtomic ListMap ListSet MapAtomic MapGranular Marker "
        "MultipleOf Nullable Pattern PreserveUnknown Properties Quantity Range Required Rule mark"
    ),
    "cove.client": "Client",
    "cove.operator.conditions": "condition is_true set_condition",
    "cove.operator.operator": "Operator",
    "cove.operator.rbac": "Audit Rbac RbacRule",
    "cove.operator.runtime.api": "Api",
    "cove.operator.runtime.context": "Ctx",
    "cove.operator.runtime.inject": "InjectionError",
    "cove.operator.runtime.predicates": (
        "Change annotations_changed any_of everything generation_changed labels_changed"
    ),
    "cove.operator.runtime.registry": "Watch",
    "cove.operator.runtime.results": "Result Retry RetryError TerminalError requeue",
    "cove.operator.runtime.runtime": "Runtime",
    "cove.operator.runtime.stores": "Store Stores",
    "cove.operator.settings": "Leadership Settings",
    "cove.operator.schema": "schema_of",
    "cove.operator.webhooks": "AdmissionRequest Denied Invalid Webhooks check_round_trip",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = [
    "AdmissionRequest",
    "Api",
    "Audit",
    "Change",
    "Client",
    "Column",
    "Condition",
    "Ctx",
    "Default",
    "Denied",
    "Description",
    "DocumentError",
    "Embedded",
    "EmbeddedResource",
    "Entity",
    "EntityError",
    "EntityInfo",
    "ExternalDocs",
    "Float32",
    "Format",
    "Ignore",
    "Immutable",
    "InjectionError",
    "Int32",
    "IntOrString",
    "Invalid",
    "Items",
    "Leadership",
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
    "Operator",
    "OwnerReference",
    "Pattern",
    "PreserveUnknown",
    "Properties",
    "Quantity",
    "Range",
    "Rbac",
    "RbacRule",
    "Required",
    "Result",
    "Retry",
    "RetryError",
    "Rule",
    "Runtime",
    "Scale",
    "SchemaError",
    "Settings",
    "Store",
    "Stores",
    "Struct",
    "TerminalError",
    "Watch",
    "Webhooks",
    "annotations_changed",
    "any_of",
    "changes",
    "check_round_trip",
    "condition",
    "crd",
    "crds",
    "entity",
    "everything",
    "field",
    "from_document",
    "from_json",
    "generation_changed",
    "info",
    "is_true",
    "labels_changed",
    "mark",
    "merged",
    "object_reference",
    "owner_reference",
    "requeue",
    "schema_of",
    "set_condition",
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
