"""A checked expression, read from the wire format that cel-cpp serializes it in.

Only what cost estimation needs: kinds of nodes, their types, the overloads of calls.

Source: https://github.com/google/cel-spec/blob/master/proto/cel/expr/checked.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

__all__ = ["Ast", "Expr", "Type", "read"]

ExprKind = Literal[
    "const", "ident", "select", "call", "list", "map", "struct", "comprehension", "none"
]


class Type:
    """A type: ``kind`` is CEL's word for it, ``parameters`` those of lists, maps and optionals."""

    __slots__ = ("kind", "name", "parameters")

    def __init__(self, kind: str, name: str = "", parameters: tuple[Type, ...] = ()) -> None:
        self.kind = kind
        self.name = name
        self.parameters = parameters


class Expr:
    """A node.  ``name``: identifier, field, function or variable; ``args`` its parts in order."""

    __slots__ = ("accu", "args", "id", "kind", "name", "target", "test_only", "value", "variables")

    def __init__(self, id: int) -> None:
        self.id = id
        self.kind: ExprKind = "none"
        self.name = ""
        self.args: list[Expr] = []
        self.target: Expr | None = None
        self.test_only = False
        # Of a constant.
        self.value: Any = None
        # Of a comprehension: one or two iteration variables, and the accumulator's.
        self.variables: list[str] = []
        self.accu = ""


class Ast:
    """A checked expression: types and overload ids by node."""

    __slots__ = ("names", "overloads", "root", "types")

    def __init__(self, root: Expr) -> None:
        self.root = root
        self.types: dict[int, Type] = {}
        self.overloads: dict[int, list[str]] = {}
        # Identifiers that the expression refers to.
        self.names: set[str] = set()


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at, size = 0, len(data)
    while at < size:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            yield number, data[at : at + length]
            at += length
        elif wire == 1:
            yield number, data[at : at + 8]
            at += 8
        elif wire == 5:
            yield number, data[at : at + 4]
            at += 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def read(serialized: bytes) -> Ast:
    """The expression in an Any of CheckedExpr."""
    checked = next(v for n, v in _fields(serialized) if n == 2)
    fields = list(_fields(checked))
    ast = Ast(_expr(next(v for n, v in fields if n == 4)))
    for number, value in fields:
        if number == 2:
            id, reference = _entry(value)
            for n, v in _fields(reference):
                if n == 1:
                    ast.names.add(v.decode())
                elif n == 3:
                    ast.overloads.setdefault(id, []).append(v.decode())
        elif number == 3:
            id, type = _entry(value)
            ast.types[id] = _type(type)
    return ast


def _entry(data: bytes) -> tuple[int, bytes]:
    id, body = 0, b""
    for number, value in _fields(data):
        if number == 1:
            id = value
        else:
            body = value
    return id, body


_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {1: "any", 2: "timestamp", 3: "duration"}


def _type(data: bytes) -> Type:
    for number, value in _fields(data):
        if number == 1:
            return Type("dyn")
        if number == 2:
            return Type("null")
        if number in (3, 4):
            return Type(_PRIMITIVES.get(value, "dyn"))
        if number == 5:
            return Type(_WELL_KNOWN.get(value, "dyn"))
        if number == 6:
            return Type("list", parameters=tuple(_type(v) for n, v in _fields(value)))
        if number == 7:
            return Type("map", parameters=tuple(_type(v) for n, v in _fields(value)))
        if number == 9:
            return Type("struct", value.decode())
        if number == 10:
            return Type("type_param", value.decode())
        if number == 14:
            parts = list(_fields(value))
            name = next((v.decode() for n, v in parts if n == 1), "")
            return Type("opaque", name, tuple(_type(v) for n, v in parts if n == 2))
        return Type("dyn")
    return Type("dyn")


def _expr(data: bytes) -> Expr:
    fields = list(_fields(data))
    expr = Expr(next((v for n, v in fields if n == 2), 0))
    for number, value in fields:
        if number == 3:
            expr.kind = "const"
            expr.value = _constant(value)
        elif number == 4:
            expr.kind = "ident"
            expr.name = next((v.decode() for n, v in _fields(value) if n == 1), "")
        elif number == 5:
            expr.kind = "select"
            for n, v in _fields(value):
                if n == 1:
                    expr.args.append(_expr(v))
                elif n == 2:
                    expr.name = v.decode()
                elif n == 3:
                    expr.test_only = bool(v)
        elif number == 6:
            expr.kind = "call"
            for n, v in _fields(value):
                if n == 1:
                    expr.target = _expr(v)
                elif n == 2:
                    expr.name = v.decode()
                elif n == 3:
                    expr.args.append(_expr(v))
        elif number == 7:
            expr.kind = "list"
            expr.args = [_expr(v) for n, v in _fields(value) if n == 1]
        elif number == 8:
            _struct(expr, value)
        elif number == 9:
            _comprehension(expr, value)
    return expr


def _constant(data: bytes) -> Any:
    for number, value in _fields(data):
        if number == 1:
            return None
        if number == 2:
            return bool(value)
        if number == 3:
            return value - 2**64 if value >= 2**63 else value
        if number == 6:
            return value.decode()
        if number == 7:
            return bytes(value)
        return value
    return None


def _struct(expr: Expr, data: bytes) -> None:
    expr.kind = "map"
    for number, value in _fields(data):
        if number == 1:
            expr.kind = "struct"
            expr.name = value.decode()
        elif number == 2:
            for n, v in _fields(value):
                if n in (3, 4):
                    expr.args.append(_expr(v))


def _comprehension(expr: Expr, data: bytes) -> None:
    """``args``: the range, the accumulator's start, the condition, the step, the result."""
    expr.kind = "comprehension"
    parts: dict[int, Any] = dict(_fields(data))
    expr.variables = [parts[n].decode() for n in (1, 8) if n in parts]
    expr.accu = parts.get(3, b"").decode()
    expr.args = [_expr(parts.get(n, b"")) for n in (2, 4, 5, 6, 7)]
