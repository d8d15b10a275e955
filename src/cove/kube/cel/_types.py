"""What CEL sees of a structural schema: types, and how large values of them can be.

Source: ``k8s.io/apiserver/pkg/cel/common/schemas.go``.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from cove.kube.structural import Schema

__all__ = ["DeclType", "decl_type", "escape", "unescape"]

Kind = Literal[
    "dyn",
    "list",
    "map",
    "object",
    "string",
    "bytes",
    "duration",
    "timestamp",
    "bool",
    "double",
    "int",
]

# The largest request a server takes.
REQUEST_BYTES = 3 * 1024 * 1024
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_SPECIAL = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_EXPAND = re.compile(r"__|[-./]")
_ALLOWED = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*")


def escape(name: str) -> str | None:
    """A field's name as a CEL identifier, None for one that cannot be reached from CEL."""
    if not _ALLOWED.fullmatch(name):
        return None
    if name in _RESERVED:
        return f"__{name}__"
    return _EXPAND.sub(lambda m: _SPECIAL[m[0]], name)


def unescape(name: str) -> str:
    """The field an identifier that :func:`escape` made stands for."""
    if name.startswith("__") and name.endswith("__") and name[2:-2] in _RESERVED:
        return name[2:-2]
    back = {v: k for k, v in _SPECIAL.items()}
    return re.sub("__(?:underscores|dot|dash|slash)__", lambda m: back[m[0]], name)


class DeclType:
    """A type with its bounds: ``most`` elements, bytes or characters; ``least`` bytes of JSON.

    ``fields`` are keyed by their escaped names.
    """

    __slots__ = ("fields", "items", "kind", "least", "most", "schema")

    def __init__(
        self,
        kind: Kind,
        *,
        least: int,
        most: int = 0,
        items: DeclType | None = None,
        fields: dict[str, DeclType] | None = None,
        schema: Schema | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.least = least
        self.most = most
        self.items = items
        self.fields = fields or {}
        self.schema = schema


STRING = 2


def _bounded(value: Any) -> int:
    return max(0, int(value))


def decl_type(schema: Schema, *, root: bool = False) -> DeclType | None:
    """The type of a schema, None for one that CEL does not see."""
    key = "cel/type/root" if root else "cel/type"
    if key not in schema.cache:
        schema.cache[key] = _build(schema, root)
    found: DeclType | None = schema.cache[key]
    return found


def _build(schema: Schema, root: bool) -> DeclType | None:
    document = schema.document
    if schema.int_or_string:
        longest = document.get("maxLength")
        most = REQUEST_BYTES - 2 if longest is None else _bounded(longest) * 4
        return DeclType("dyn", least=1, most=most)
    if schema.type == "array":
        inner = (
            None if schema.items is None else decl_type(schema.items, root=schema.items.embedded)
        )
        if inner is None:
            return None
        limit = document.get("maxItems")
        most = (REQUEST_BYTES - 2) // (inner.least + 1) if limit is None else _bounded(limit)
        return DeclType("list", least=2, most=most, items=inner, schema=schema)
    if schema.type == "object":
        return _object(schema, root)
    if schema.type == "string":
        return _string(schema)
    simple: dict[str, tuple[Kind, int]] = {
        "boolean": ("bool", 4),
        "number": ("double", 1),
        "integer": ("int", 1),
    }
    if schema.type in simple:
        kind, least = simple[schema.type]
        return DeclType(kind, least=least)
    return None


def _object(schema: Schema, root: bool) -> DeclType | None:
    values = schema.values
    if values is not None:
        inner = decl_type(values, root=values.embedded)
        if inner is None:
            return None
        limit = schema.document.get("maxProperties")
        most = (REQUEST_BYTES - 2) // (inner.least + 6) if limit is None else _bounded(limit)
        return DeclType("map", least=2, most=most, items=inner, schema=schema)
    properties = dict(schema.properties)
    if root:
        string = Schema({"type": "string"})
        properties["kind"] = properties["apiVersion"] = string
        properties["metadata"] = Schema(
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
            }
        )
    least = 2
    fields: dict[str, DeclType] = {}
    for name, prop in properties.items():
        inner = decl_type(prop, root=prop.embedded)
        if inner is None:
            continue
        escaped = escape(name)
        if escaped is not None:
            fields[escaped] = inner
        if name in schema.required and not prop.has_default:
            least += len(name) + inner.least + 4
    return DeclType("object", least=least, fields=fields, schema=schema)


def _string(schema: Schema) -> DeclType:
    document = schema.document
    form = document.get("format") or ""
    longest = document.get("maxLength")
    if form == "byte":
        most = REQUEST_BYTES - 2 if longest is None else _bounded(longest)
        return DeclType("bytes", least=STRING, most=most)
    if form == "duration":
        return DeclType("duration", least=3, most=32)
    if form == "date":
        return DeclType("timestamp", least=12, most=12)
    if form == "date-time":
        return DeclType("timestamp", least=21, most=32)
    if longest is not None:
        most = _bounded(longest) * 4
    elif document.get("enum"):
        most = max((len(v.encode()) for v in document["enum"] if isinstance(v, str)), default=0)
    else:
        most = REQUEST_BYTES - 2
    return DeclType("string", least=STRING, most=most)
