"""Types of Kubernetes documents, as data.

One :class:`Node` describes one place in a document: a struct with fields, a map,
a list or a leaf.  The same nodes serve the codec (decode, drop what Go would
drop), strategic merge patch, server-side apply and the OpenAPI documents; the
built-in kinds get theirs from :mod:`cove.kube.catalogue`, custom resources from
their structural schema.  Nodes are immutable once built, shared between places
that have the same type, and may be recursive (JSONSchemaProps).

Sources: the ``x-kubernetes-*`` extensions of the API's OpenAPI documents
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy)
and, for :attr:`Field.emit`, encoding/json's ``omitempty`` rules as the API's Go
types use them.
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["Emit", "Field", "ListType", "Node", "NodeType"]

NodeType = Literal[
    "struct",  # fields known by name
    "map",  # string keys, every value of type `items`
    "list",  # every element of type `items`
    "string",
    "integer",  # `format` int32 or int64
    "number",
    "boolean",
    "any",  # whatever JSON it is: x-kubernetes-preserve-unknown-fields, RawExtension, JSON
    "quantity",  # a number or a string; canonical form on output
    "int-or-string",
    "time",  # RFC 3339, seconds
    "micro-time",  # RFC 3339, microseconds
    "bytes",  # base64
    "duration",  # metav1.Duration: Go's "1h2m3s"
]

ListType = Literal["atomic", "set", "map"]

Emit = Literal[
    "zero",  # a Go value with omitempty: its zero (0, "", false, [], {}) is left out
    "always",  # a Go value without omitempty: always written, zero if it was absent
    "set",  # a Go pointer with omitempty: written as it is when present, null is absent
    "struct",  # a Go struct by value: always written, {} if it was absent
]


class Field:
    """A field of a struct: its node, and what belongs to the place rather than to the type."""

    __slots__ = (
        "default",
        "emit",
        "go_type",
        "merge_key",
        "name",
        "node",
        "pointer",
        "required",
        "strategies",
    )

    def __init__(
        self,
        name: str,
        node: Node,
        *,
        emit: Emit = "set",
        required: bool = False,
        default: Any = None,
        merge_key: str | None = None,
        strategies: frozenset[str] = frozenset(),
        go_type: str = "",
        pointer: bool = False,
    ) -> None:
        self.name = name
        self.node = node
        self.emit: Emit = emit
        self.required = required
        # The OpenAPI default ("default": "TCP"); None where there is none.
        self.default = default
        # x-kubernetes-patch-merge-key and -patch-strategy ("merge", "replace", "retainKeys").
        self.merge_key = merge_key
        self.strategies = strategies
        # The Go type that error messages name: "int32", "string", "v1.Container", "map[string]string".
        self.go_type = go_type
        # A Go pointer: its zero is null, so that `emit` "always" writes null for what is absent.
        self.pointer = pointer

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.node!r})"


class Node:
    """The type of one place in a document.

    ``fields`` is set for "struct" (and, for custom resources, may stand beside
    ``preserve``); ``items`` for "map" and "list".  ``list_type`` and ``keys`` are
    x-kubernetes-list-type and -list-map-keys ("atomic" where the document says
    nothing, as server-side apply reads it); ``atomic`` is x-kubernetes-map-type:
    atomic on a struct or map.  ``key_defaults`` gives, for a list-map, the default
    of a key field that an element may leave out ({"protocol": "TCP"}).
    """

    __slots__ = (
        "atomic",
        "cache",
        "enum",
        "fields",
        "format",
        "items",
        "key_defaults",
        "keys",
        "list_type",
        "name",
        "nullable",
        "preserve",
        "type",
    )

    def __init__(
        self,
        type: NodeType,
        *,
        name: str = "",
        fields: dict[str, Field] | None = None,
        items: Node | None = None,
        list_type: ListType = "atomic",
        keys: tuple[str, ...] = (),
        key_defaults: dict[str, Any] | None = None,
        atomic: bool = False,
        nullable: bool = False,
        preserve: bool = False,
        format: str = "",
        enum: tuple[str, ...] = (),
    ) -> None:
        self.type: NodeType = type
        # The definition's name for a struct of the API ("io.k8s.api.core.v1.PodSpec"), else "".
        self.name = name
        self.fields: dict[str, Field] = fields if fields is not None else {}
        self.items = items
        self.list_type: ListType = list_type
        self.keys = keys
        self.key_defaults: dict[str, Any] = key_defaults or {}
        self.atomic = atomic
        # Custom resources: null is a value here and is kept.
        self.nullable = nullable
        # Custom resources: unknown fields of this struct are kept, with no type.
        self.preserve = preserve
        self.format = format
        self.enum = enum
        # Where an algorithm may keep what it compiled from this node, keyed by its own name.
        self.cache: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Node({self.type}{' ' + self.name if self.name else ''})"
