"""What Go's decoding and encoding make of a document, compiled once per type.

A compiled decoder takes a JSON value and returns the value an API server would store
and send back: unknown fields gone, zero values left out or filled in as the Go types
say, quantities, times and bytes in their canonical form.  It knows no paths: whatever
does not fit raises :class:`MismatchError`, and :mod:`cove.kube.catalogue._explain` walks the
document again to word the error.  Values that need no change are returned as they are,
not copied, so the result shares parts with the document.

Kept objects pass through protobuf upstream, where an empty list or map is the same as
none at all: for most kinds ``rules: []`` comes back as ``rules: null``.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Any

from cove.kube.quantity import QuantityError
from cove.kube.quantity import canonical as canonical_quantity
from cove.kube.schema import Field, Node
from cove.kube.times import (
    TimeError,
    canonical_micro_time,
    canonical_time,
    format_duration,
    parse_duration,
)

__all__ = ["Decoder", "MismatchError", "compiled", "zero_value"]

# (value, unknown): names of unknown fields are appended to `unknown`, in no useful order.
Decoder = Callable[[Any, list[str]], Any]


class MismatchError(Exception):
    """A value does not fit its type; what and where is found out afterwards."""


_DROP: Any = object()
_INT32 = (-(1 << 31), (1 << 31) - 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)

# Packages whose objects are kept as JSON, or not at all: there [] stays [].
_NOT_PROTOBUF = (
    "io.k8s.apiextensions-apiserver.",
    "io.k8s.kube-aggregator.",
    "io.k8s.api.authentication.",
    "io.k8s.api.authorization.",
)


def compiled(node: Node) -> Decoder:
    """The decoder of a type; made at the first call and kept on the node."""
    found: Decoder | None = node.cache.get("decode")
    if found is None:
        found = node.cache["decode"] = _compile(node)
    return found


def zero_value(node: Node) -> Any:
    """What Go writes for a value of this type, not a pointer, that nobody set."""
    kind = node.type
    if kind == "struct":
        return compiled(node)({}, [])
    return _ZEROS.get(kind)


# Of lists, maps, times and raw values the zero is null.
_ZEROS: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "quantity": "0",
    "int-or-string": 0,
    "duration": "0s",
}


def _string(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not str:
        raise MismatchError
    return value


def _int32(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not int or not _INT32[0] <= value <= _INT32[1]:
        raise MismatchError
    return value


def _int64(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not int or not _INT64[0] <= value <= _INT64[1]:
        raise MismatchError
    return value


def _number(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is float:
        # Go writes a whole float64 without a fraction.
        return int(value) if value.is_integer() and abs(value) < 2.0**63 else value
    if value.__class__ is not int:
        raise MismatchError
    return value


def _boolean(value: Any, _unknown: list[str]) -> Any:
    if value is not True and value is not False:
        raise MismatchError
    return value


def _any(value: Any, _unknown: list[str]) -> Any:
    return value


def _quantity(value: Any, _unknown: list[str]) -> Any:
    kind = value.__class__
    if kind is not str and kind is not int and kind is not float:
        raise MismatchError
    try:
        return canonical_quantity(value.strip() if kind is str else value)
    except QuantityError:
        raise MismatchError from None


def _int_or_string(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is str:
        return value
    return _int32(value, _unknown)


def _time(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not str:
        raise MismatchError
    try:
        return canonical_time(value)
    except TimeError:
        raise MismatchError from None


def _micro_time(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not str:
        raise MismatchError
    try:
        return canonical_micro_time(value)
    except TimeError:
        raise MismatchError from None


def _duration(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not str:
        raise MismatchError
    try:
        return format_duration(parse_duration(value))
    except TimeError:
        raise MismatchError from None


def _bytes(value: Any, _unknown: list[str]) -> Any:
    if value.__class__ is not str:
        raise MismatchError
    text = value
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    try:
        # Encoding anew clears the bits that a last character may carry beyond the bytes.
        return b2a_base64(a2b_base64(text, strict_mode=True), newline=False).decode()
    except (Base64Error, ValueError):
        raise MismatchError from None


_LEAVES: dict[str, Decoder] = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "any": _any,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "time": _time,
    "micro-time": _micro_time,
    "duration": _duration,
    "bytes": _bytes,
}


def _compile(node: Node) -> Decoder:
    kind = node.type
    if kind == "struct":
        return _struct(node)
    if kind == "list":
        return _list(node)
    if kind == "map":
        return _map(node)
    if kind == "integer":
        return _int32 if node.format == "int32" else _int64
    if kind == "any" and node.items is not None:
        return _schema_or(node)
    return _LEAVES[kind]


def _list(node: Node) -> Decoder:
    items = node.items
    assert items is not None
    if items.type == "string":

        def strings(value: Any, _unknown: list[str]) -> Any:
            if value.__class__ is not list:
                raise MismatchError
            for item in value:
                if item.__class__ is not str:
                    break
            else:
                return value
            return ["" if item is None else _string(item, _unknown) for item in value]

        return strings
    element = compiled(items)

    def elements(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not list:
            raise MismatchError
        return [element(item, unknown) if item is not None else zero_value(items) for item in value]

    return elements


def _map(node: Node) -> Decoder:
    items = node.items
    assert items is not None
    if items.type == "string":

        def strings(value: Any, _unknown: list[str]) -> Any:
            if value.__class__ is not dict:
                raise MismatchError
            for item in value.values():
                if item.__class__ is not str:
                    break
            else:
                return value
            return {k: "" if v is None else _string(v, _unknown) for k, v in value.items()}

        return strings
    element = compiled(items)
    # A nil []byte in a map comes back from protobuf as an empty one.
    absent = "" if items.type == "bytes" else None

    def elements(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            raise MismatchError
        return {
            k: element(v, unknown)
            if v is not None
            else (absent if absent is not None else zero_value(items))
            for k, v in value.items()
        }

    return elements


def _schema_or(node: Node) -> Decoder:
    """A JSON schema, or in its place a boolean or a list (``items``, ``additionalProperties``).

    Upstream decodes what is inside anew, without looking for unknown fields.
    """
    schema = node.items
    assert schema is not None
    boolean = node.name.endswith("OrBool")
    strings = node.name.endswith("OrStringArray")

    def decode(value: Any, _unknown: list[str]) -> Any:
        if value.__class__ is dict:
            return compiled(schema)(value, [])
        if boolean:
            return _boolean(value, _unknown)
        if value.__class__ is list and value:
            if strings:
                return ["" if v is None else _string(v, []) for v in value]
            inner = compiled(schema)
            return [inner({} if v is None else v, []) for v in value]
        return None

    return decode


class _Handlers(dict[str, Decoder]):
    """The decoders of a struct's fields, each compiled when it is first met.

    Types may contain themselves, and most fields are never seen.
    """

    __slots__ = ("_keep_empty", "_node")

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._keep_empty = node.name.startswith(_NOT_PROTOBUF)

    def __missing__(self, name: str) -> Decoder:
        field = self._node.fields.get(name)
        if field is None:
            return _unknown
        handler = self[name] = _field(field, keep_empty=self._keep_empty)
        return handler


def _struct(node: Node) -> Decoder:
    handlers = _Handlers(node)
    constants: dict[str, Any] = {}
    factories: list[tuple[str, Node]] = []
    for name, field in node.fields.items():
        if field.emit == "always":
            constants[name] = None if field.pointer else zero_value(field.node)
        elif field.emit == "struct":
            if field.node.type == "struct":
                factories.append((name, field.node))
            else:
                constants[name] = zero_value(field.node)
    always = tuple(constants.items())
    structs = tuple(factories)

    def decode(value: Any, unknown: list[str]) -> Any:
        if value.__class__ is not dict:
            raise MismatchError
        out: dict[str, Any] = {}
        for name, item in value.items():
            handler = handlers[name]
            if handler is _optional_string:
                if item.__class__ is str:
                    if item:
                        out[name] = item
                elif item is not None:
                    raise MismatchError
            elif handler is _unknown:
                unknown.append(name)
            else:
                item = handler(item, unknown)
                if item is not _DROP:
                    out[name] = item
        for name, constant in always:
            if name not in out:
                out[name] = constant
        for name, inner in structs:
            if name not in out:
                out[name] = zero_value(inner)
        return out

    return decode


def _unknown(value: Any, _unknown: list[str]) -> Any:
    """Marks a field that the type does not have."""
    raise AssertionError(value)


def _optional_string(value: Any, _unknown: list[str]) -> Any:
    """Marks the most frequent handler, which the loop over a struct's fields does itself."""
    raise AssertionError(value)


def _field(field: Field, *, keep_empty: bool) -> Decoder:
    """The decoder of a value together with what its place makes of null and zero."""
    node = field.node
    emit = field.emit
    if emit == "zero" and node.type == "string":
        return _optional_string
    inner = compiled(node)

    if emit == "zero":

        def zero(value: Any, unknown: list[str]) -> Any:
            if value is None:
                return _DROP
            return inner(value, unknown) or _DROP

        return zero
    if emit == "set":

        def pointer(value: Any, unknown: list[str]) -> Any:
            if value is None:
                return _DROP
            found = inner(value, unknown)
            return _DROP if found is None and node.type != "any" else found

        return pointer
    if emit == "struct" or field.pointer or node.type not in ("list", "map"):
        absent_pointer = emit == "always" and field.pointer

        def always(value: Any, unknown: list[str]) -> Any:
            if value is None:
                return None if absent_pointer else zero_value(node)
            return inner(value, unknown)

        return always

    def container(value: Any, unknown: list[str]) -> Any:
        if value is None:
            return None
        found = inner(value, unknown)
        return found if found or keep_empty else None

    return container
