"""A structural schema as a tree that the other modules compile from.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["META_FIELDS", "Schema", "parse"]

Document = Mapping[str, Any]

META_FIELDS = frozenset(("apiVersion", "kind", "metadata"))


class Schema:
    """One node of a schema.  Immutable once parsed; what is compiled from it is cached on it.

    ``document`` is the JSONSchemaProps it was read from.  ``additional`` is the schema of
    values under unknown keys, True where ``additionalProperties`` is a boolean (of either
    value: what it forbids is a matter of validation) and None without it.  ``default`` has
    a meaning only where ``has_default``: null is no default.
    """

    __slots__ = (
        "additional",
        "cache",
        "default",
        "document",
        "embedded",
        "has_default",
        "int_or_string",
        "items",
        "list_keys",
        "list_type",
        "map_type",
        "nullable",
        "preserve",
        "properties",
        "required",
        "rules",
        "type",
    )

    def __init__(self, document: Document) -> None:
        self.document = document
        self.type: str = document.get("type") or ""
        self.nullable: bool = bool(document.get("nullable"))
        self.preserve: bool = bool(document.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded: bool = bool(document.get("x-kubernetes-embedded-resource"))
        self.int_or_string: bool = bool(document.get("x-kubernetes-int-or-string"))
        self.list_type: str = document.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(document.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = document.get("x-kubernetes-map-type") or ""
        self.required: tuple[str, ...] = tuple(document.get("required") or ())
        self.default: Any = document.get("default")
        self.has_default: bool = self.default is not None
        self.rules: tuple[Document, ...] = tuple(document.get("x-kubernetes-validations") or ())
        self.properties: dict[str, Schema] = {
            name: parse(inner) for name, inner in (document.get("properties") or {}).items()
        }
        items = document.get("items")
        self.items: Schema | None = parse(items) if isinstance(items, Mapping) else None
        additional = document.get("additionalProperties")
        self.additional: Schema | bool | None = (
            parse(additional)
            if isinstance(additional, Mapping)
            else True
            if additional is not None
            else None
        )
        # Where an algorithm keeps what it compiled from this node, keyed by its own name.
        self.cache: dict[str, Any] = {}

    @property
    def values(self) -> Schema | None:
        """The schema of values under unknown keys, None where it says nothing."""
        return self.additional if isinstance(self.additional, Schema) else None

    def __repr__(self) -> str:
        return f"Schema({self.type or 'any'})"


def parse(document: Document) -> Schema:
    """Read a JSONSchemaProps document; what is not structural in it is ignored."""
    return Schema(document)
