"""Kubernetes' protobuf bodies, read into the JSON documents they stand for.

kubectl and Go operators write built-in kinds as ``application/vnd.kubernetes.protobuf``:
four bytes of magic, then a ``runtime.Unknown`` that wraps the object's message.  The
messages have the fields of the types this package knows; only their numbers are added
here (``data/protobuf.json``: definition → field → number, "@Name" for a struct that JSON
inlines and protobuf nests).  Answers are JSON: every such client takes it.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding and
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import orjson

from cove.kube.catalogue._load import schema
from cove.kube.catalogue._resources import DATA
from cove.kube.schema import Node
from cove.kube.times import format_duration, format_micro_time, format_time

__all__ = ["MAGIC", "ProtobufError", "decode"]

MAGIC = b"k8s\x00"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """The bytes are no message, or not one of the kind they say they are."""


class _Place(NamedTuple):
    """Where a field number leads: a field of the JSON object, or (``inline``) a nested
    message whose fields belong to the object itself."""

    name: str
    node: Node | None
    inline: dict[int, _Place] | None


def decode(body: bytes) -> dict[str, Any]:
    """The document of a body; raises :class:`ProtobufError`.

    Kinds that are not built in have no protobuf form and are refused.
    """
    if body[:4] != MAGIC:
        raise ProtobufError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    kind = api_version = ""
    raw = b""
    for number, value in _fields(memoryview(body)[4:]):
        if number == 1:
            for inner, text in _fields(_expect_bytes(value)):
                if inner == 1:
                    api_version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2:
            raw = bytes(_expect_bytes(value))
    group, _, version = api_version.rpartition("/")
    try:
        node = schema(group, version, kind)
    except KeyError as e:
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"') from e
    doc: dict[str, Any] = {"kind": kind, "apiVersion": api_version}
    doc.update(_message(memoryview(raw), _places(node)))
    return doc


# -- the wire


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtobufError("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in order: numbers as unsigned integers, the rest as bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire == _FIXED64:
            size = 8
        elif wire == _FIXED32:
            size = 4
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")
        if at + size > end:
            raise ProtobufError("unexpected EOF")
        yield number, data[at : at + size]
        at += size


def _expect_bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ProtobufError("proto: wrong wireType")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_expect_bytes(value)).decode("utf-8", "replace")


def _signed(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ProtobufError("proto: wrong wireType")
    return value - (1 << 64) if value >= 1 << 63 else value


# -- the types


@cache
def _numbers() -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = orjson.loads(
        (DATA / "protobuf.json").read_bytes()
    )
    return found


_PREFIXES = {
    "io.k8s.apimachinery.pkg.apis.meta.": "",
    "io.k8s.apiextensions-apiserver.pkg.apis.": "",
    "io.k8s.kube-aggregator.pkg.apis.": "",
    "io.k8s.api.": "",
}


def _split(name: str) -> tuple[str, str]:
    """``io.k8s.api.core.v1.Pod`` → ("core.v1", "Pod"), the names of the table."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            stem, _, kind = name[len(prefix) :].rpartition(".")
            return ("meta.v1" if "apis.meta" in prefix else stem), kind
    raise ProtobufError(f"{name} has no protobuf form")


def _places(node: Node) -> dict[int, _Place]:
    """What the field numbers of a struct mean; kept with the node."""
    found: dict[int, _Place] | None = node.cache.get("protobuf")
    if found is None:
        found = node.cache["protobuf"] = {}
        stem, kind = _split(node.name)
        found.update(_build(node, stem, kind))
    return found


def _build(node: Node, stem: str, kind: str) -> dict[int, _Place]:
    places = {}
    for name, number in _numbers().get(stem, {}).get(kind, {}).items():
        if name[0] == "@":
            places[number] = _Place("", None, _build(node, stem, name[1:]))
            continue
        field = node.fields.get(name)
        if field is not None:
            places[number] = _Place(name, field.node, None)
    return places


def _message(data: memoryview, places: dict[int, _Place]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for number, value in _fields(data):
        place = places.get(number)
        if place is None:
            continue
        if place.inline is not None:
            out.update(_message(_expect_bytes(value), place.inline))
            continue
        node = place.node
        assert node is not None
        if node.type == "list":
            out.setdefault(place.name, []).extend(_elements(node, value))
        elif node.type == "map":
            key, item = _entry(node, _expect_bytes(value))
            out.setdefault(place.name, {})[key] = item
        else:
            out[place.name] = _value(node, value)
    return out


def _elements(node: Node, value: int | memoryview) -> list[Any]:
    """One element, or many numbers in one packed field."""
    items = node.items
    assert items is not None
    if items.type in ("integer", "boolean") and not isinstance(value, int):
        out, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            out.append(_value(items, number))
        return out
    return [_value(items, value)]


def _entry(node: Node, data: memoryview) -> tuple[str, Any]:
    items = node.items
    assert items is not None
    key, found, seen = "", None, False
    for number, value in _fields(data):
        if number == 1:
            key = _text(value)
        elif number == 2:
            seen = True
            if items.type == "list":
                # A list as a map's value is wrapped in a message of its own (ExtraValue).
                found = [
                    element
                    for inner, wrapped in _fields(_expect_bytes(value))
                    if inner == 1
                    for element in _elements(items, wrapped)
                ]
            else:
                found = _value(items, value)
    if not seen:
        found = _EMPTY.get(items.type)
    return key, found


_EMPTY: dict[str, Any] = {"string": "", "bytes": "", "integer": 0, "boolean": False, "list": []}


def _value(node: Node, value: int | memoryview) -> Any:
    reader = _READERS.get(node.type)
    if reader is not None:
        return reader(value)
    if node.type == "struct":
        return _message(_expect_bytes(value), _places(node))
    if node.type == "any":
        return _any(node, _expect_bytes(value))
    raise ProtobufError(f"a {node.type} has no protobuf form")


def _number(value: int | memoryview) -> float:
    data = _expect_bytes(value)
    found: float = struct.unpack("<d" if len(data) == 8 else "<f", data)[0]
    return found


def _instant(value: int | memoryview) -> tuple[int, int]:
    seconds = nanos = 0
    for number, part in _fields(_expect_bytes(value)):
        if number == 1:
            seconds = _signed(part)
        elif number == 2:
            nanos = _signed(part)
    return seconds, nanos


def _time(value: int | memoryview) -> str | None:
    if not len(_expect_bytes(value)):
        return None
    seconds, _ = _instant(value)
    return format_time(_EPOCH + timedelta(seconds=seconds))


def _micro_time(value: int | memoryview) -> str | None:
    if not len(_expect_bytes(value)):
        return None
    seconds, nanos = _instant(value)
    return format_micro_time(_EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000))


def _quantity(value: int | memoryview) -> str:
    for number, part in _fields(_expect_bytes(value)):
        if number == 1:
            return _text(part)
    return "0"


def _int_or_string(value: int | memoryview) -> int | str:
    kind = whole = 0
    text = ""
    for number, part in _fields(_expect_bytes(value)):
        if number == 1:
            kind = _signed(part)
        elif number == 2:
            whole = _signed(part)
        elif number == 3:
            text = _text(part)
    return text if kind else whole


def _duration(value: int | memoryview) -> str:
    for number, part in _fields(_expect_bytes(value)):
        if number == 1:
            return format_duration(_signed(part))
    return format_duration(0)


_READERS: dict[str, Callable[[int | memoryview], Any]] = {
    "string": _text,
    "integer": _signed,
    "boolean": bool,
    "number": _number,
    "bytes": lambda value: base64.b64encode(_expect_bytes(value)).decode(),
    "time": _time,
    "micro-time": _micro_time,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "duration": _duration,
}


def _any(node: Node, data: memoryview) -> Any:
    """JSON inside a message (RawExtension, FieldsV1, JSON), or a schema or something simpler."""
    shape = node.name.rpartition(".")[2]
    if shape == "JSONSchemaPropsOrBool":
        return _either(data, node, lambda n, v: bool(v) if n == 1 else None, 2)
    if shape == "JSONSchemaPropsOrArray":
        return _either(data, node, None, 1, many=2)
    if shape == "JSONSchemaPropsOrStringArray":
        return _either(data, node, None, 1, texts=2)
    for number, value in _fields(data):
        if number == 1:
            raw = bytes(_expect_bytes(value))
            if not raw:
                return None
            try:
                return orjson.loads(raw)
            except orjson.JSONDecodeError as e:
                raise ProtobufError(str(e)) from e
    return None


def _either(
    data: memoryview,
    node: Node,
    simple: Callable[[int, int | memoryview], Any] | None,
    one: int,
    *,
    many: int = 0,
    texts: int = 0,
) -> Any:
    """A schema (field ``one``), or a boolean, several schemas, or texts."""
    schema_node = node.items
    assert schema_node is not None
    found: Any = None
    several: list[Any] = []
    for number, value in _fields(data):
        if number == one:
            found = _message(_expect_bytes(value), _places(schema_node))
        elif number == many:
            several.append(_message(_expect_bytes(value), _places(schema_node)))
        elif number == texts:
            several.append(_text(value))
        elif simple is not None and found is None:
            found = simple(number, value)
    return several or found
