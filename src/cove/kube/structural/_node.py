"""A structural schema as the :class:`~cove.kube.schema.Node` that patches and apply walk."""

from __future__ import annotations

from typing import Any

from cove.kube.schema import Field, ListType, Node, NodeType
from cove.kube.structural._schema import Schema

__all__ = ["to_node"]

_SCALARS: dict[str, NodeType] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}
_LISTS: dict[str, ListType] = {"set": "set", "map": "map"}


def to_node(schema: Schema, metadata: Node) -> Node:
    """The type of a custom resource; ``metadata`` is ObjectMeta's node."""
    found: Node | None = schema.cache.get("node")
    if found is None:
        fields = {name: _field(name, inner, metadata) for name, inner in schema.properties.items()}
        string = Node("string")
        fields["apiVersion"] = Field("apiVersion", string, go_type="string")
        fields["kind"] = Field("kind", string, go_type="string")
        fields["metadata"] = Field("metadata", metadata, go_type="v1.ObjectMeta")
        found = schema.cache["node"] = Node(
            "struct",
            fields=fields,
            atomic=schema.map_type == "atomic",
            preserve=schema.preserve,
        )
    return found


def _field(name: str, schema: Schema, metadata: Node) -> Field:
    return Field(
        name,
        _node(schema, metadata),
        required=False,
        default=schema.default if schema.has_default else None,
    )


def _node(schema: Schema, metadata: Node) -> Node:
    if schema.int_or_string:
        return Node("int-or-string", nullable=schema.nullable)
    kind = schema.type
    if kind == "object":
        return _object(schema, metadata)
    if kind == "array":
        return _list(schema, metadata)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        return Node(scalar, nullable=schema.nullable, format=schema.document.get("format") or "")
    return Node("any", nullable=schema.nullable, preserve=schema.preserve)


def _object(schema: Schema, metadata: Node) -> Node:
    atomic = schema.map_type == "atomic"
    if schema.additional is not None and not schema.properties:
        values = schema.values
        items = Node("any") if values is None else _node(values, metadata)
        return Node("map", items=items, atomic=atomic, nullable=schema.nullable)
    fields = {name: _field(name, inner, metadata) for name, inner in schema.properties.items()}
    if schema.embedded:
        for name in ("apiVersion", "kind"):
            fields.setdefault(name, Field(name, Node("string"), go_type="string"))
        fields["metadata"] = Field("metadata", metadata, go_type="v1.ObjectMeta")
    return Node(
        "struct",
        fields=fields,
        atomic=atomic,
        nullable=schema.nullable,
        preserve=schema.preserve,
    )


def _list(schema: Schema, metadata: Node) -> Node:
    items = schema.items
    defaults: dict[str, Any] = {}
    if items is not None:
        for key in schema.list_keys:
            inner = items.properties.get(key)
            if inner is not None and inner.has_default:
                defaults[key] = inner.default
    return Node(
        "list",
        items=Node("any") if items is None else _node(items, metadata),
        list_type=_LISTS.get(schema.list_type, "atomic"),
        keys=schema.list_keys,
        key_defaults=defaults,
        nullable=schema.nullable,
        preserve=schema.preserve,
    )
