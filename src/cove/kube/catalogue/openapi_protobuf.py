"""The Swagger 2 document as protobuf: what kubectl reads for client-side validation.

The messages are gnostic's ``openapi.v2``; only the parts of them that such documents have
are known here.  Maps are repeated pairs of a name and a value; what a message has no field
for and is called ``x-…`` becomes a vendor extension, whose value is a text of YAML (ours is
its JSON, which is YAML, too).

Source: https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto and
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import orjson

__all__ = ["encode_v2"]

_Encode = Callable[[Any], bytes]
_VARINT, _FIXED64, _BYTES = 0, 1, 2


def _varint(number: int) -> bytes:
    """A number in seven bits a byte; negative ones as 64 bits, as int64 has it."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@cache
def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _field(number: int, content: bytes) -> bytes:
    """A field that is a text or a message."""
    return _tag(number, _BYTES) + _varint(len(content)) + content


class _Text:
    """A string.  Empty ones are not written, as proto3 has it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, value: Any) -> bytes:
        return _field(self.number, value.encode()) if value else b""


class _Texts(_Text):
    """Strings; a single one stands for a list of one."""

    def __call__(self, value: Any) -> bytes:
        texts = [value] if isinstance(value, str) else value
        return b"".join(_field(self.number, text.encode()) for text in texts)


class _Number(_Text):
    """A bool or an int64; false and zero are not written."""

    def __call__(self, value: Any) -> bytes:
        return _tag(self.number, _VARINT) + _varint(int(value)) if value else b""


class _Double(_Text):
    """A double; zero is not written."""

    def __call__(self, value: Any) -> bytes:
        return _tag(self.number, _FIXED64) + struct.pack("<d", value) if value else b""


class _Any(_Text):
    """A value of any type: its YAML."""

    def __call__(self, value: Any) -> bytes:
        return _field(self.number, _yaml(value))


class _Anys(_Text):
    """Values of any type."""

    def __call__(self, value: Any) -> bytes:
        return b"".join(_field(self.number, _yaml(one)) for one in value)


class _Of(_Text):
    """A message that ``encode`` makes the content of."""

    def __init__(self, number: int, encode: _Encode) -> None:
        super().__init__(number)
        self.encode = encode

    def __call__(self, value: Any) -> bytes:
        return _field(self.number, self.encode(value))


class _All(_Of):
    """Messages."""

    def __call__(self, value: Any) -> bytes:
        return b"".join(_field(self.number, self.encode(one)) for one in value)


def _yaml(value: Any) -> bytes:
    """The content of an ``Any``."""
    return _field(2, orjson.dumps(value))


def _message(fields: Mapping[str, _Text], extensions: int = 0) -> _Encode:
    """What encodes an object: ``fields`` by name, others that are extensions by number."""

    def encode(value: Any) -> bytes:
        parts = []
        for name, below in value.items():
            field = fields.get(name)
            if field is not None:
                if below is not None:
                    parts.append(field(below))
            elif extensions and name.startswith("x-"):
                named = _field(1, name.encode()) + _field(2, _yaml(below))
                parts.append(_field(extensions, named))
        return b"".join(parts)

    return encode


def _map(number: int, encode: _Encode) -> _Encode:
    """What encodes an object whose names are data, as pairs."""

    def pairs(value: Any) -> bytes:
        return b"".join(
            _field(number, _field(1, name.encode()) + _field(2, encode(below)))
            for name, below in value.items()
        )

    return pairs


# -- schemas

_LIMITS: dict[str, tuple[str, int]] = {
    # name → (type, number in a schema)
    "multipleOf": ("double", 6),
    "maximum": ("double", 7),
    "exclusiveMaximum": ("number", 8),
    "minimum": ("double", 9),
    "exclusiveMinimum": ("number", 10),
    "maxLength": ("number", 11),
    "minLength": ("number", 12),
    "pattern": ("text", 13),
    "maxItems": ("number", 14),
    "minItems": ("number", 15),
    "uniqueItems": ("number", 16),
    "maxProperties": ("number", 17),
    "minProperties": ("number", 18),
}
_SIMPLE: dict[str, type[_Text]] = {"text": _Text, "number": _Number, "double": _Double}


def _schema(value: Any) -> bytes:
    return _SCHEMA(value)


def _items(value: Any) -> bytes:
    """One schema, or one for each place."""
    return _All(1, _schema)(value if isinstance(value, list) else [value])


def _additional(value: Any) -> bytes:
    """A schema, or whether there may be others; of a oneof, false is written, too."""
    if isinstance(value, bool):
        return _tag(2, _VARINT) + _varint(value)
    return _Of(1, _schema)(value)


_EXTERNAL_DOCS = _message({"description": _Text(1), "url": _Text(2)}, 3)
_SCHEMA = _message(
    {
        "$ref": _Text(1),
        "format": _Text(2),
        "title": _Text(3),
        "description": _Text(4),
        "default": _Any(5),
        **{name: _SIMPLE[type](number) for name, (type, number) in _LIMITS.items()},
        "required": _Texts(19),
        "enum": _Anys(20),
        "additionalProperties": _Of(21, _additional),
        "type": _Of(22, _Texts(1)),
        "items": _Of(23, _items),
        "allOf": _All(24, _schema),
        "properties": _Of(25, _map(1, _schema)),
        "discriminator": _Text(26),
        "readOnly": _Number(27),
        "externalDocs": _Of(29, _EXTERNAL_DOCS),
        "example": _Any(30),
    },
    31,
)

# -- parameters, responses, operations

_BODY = _message(
    {
        "description": _Text(1),
        "name": _Text(2),
        "in": _Text(3),
        "required": _Number(4),
        "schema": _Of(5, _schema),
    },
    6,
)
# Where a parameter is → (its number among those without a schema, what encodes it).  The
# messages are alike, but query has one field more, which moves those behind it.
_PLACES: dict[str, tuple[int, _Encode]] = {
    place: (
        number,
        _message(
            {
                "required": _Number(1),
                "in": _Text(2),
                "description": _Text(3),
                "name": _Text(4),
                "type": _Text(5 + more),
                "format": _Text(6 + more),
                "default": _Any(9 + more),
                "uniqueItems": _Number(19 + more),
                "enum": _Anys(20 + more),
            },
            22 + more,
        ),
    )
    for place, number, more in (("header", 1, 0), ("query", 3, 1), ("path", 4, 0))
}


def _parameter(value: Any) -> bytes:
    """An item of a list of parameters."""
    if value["in"] == "body":
        return _field(1, _field(1, _BODY(value)))
    number, encode = _PLACES[value["in"]]
    return _field(1, _field(2, _field(number, encode(value))))


def _schema_item(value: Any) -> bytes:
    return _field(1, _schema(value))


_RESPONSE = _message({"description": _Text(1), "schema": _Of(2, _schema_item)}, 5)
_OPERATION = _message(
    {
        "tags": _Texts(1),
        "summary": _Text(2),
        "description": _Text(3),
        "operationId": _Text(5),
        "produces": _Texts(6),
        "consumes": _Texts(7),
        "parameters": _All(8, _parameter),
        "responses": _Of(9, _map(1, lambda value: _field(1, _RESPONSE(value)))),
        "schemes": _Texts(10),
        "deprecated": _Number(11),
    },
    13,
)
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_PATH = _message(
    {
        **{method: _Of(at, _OPERATION) for at, method in enumerate(_METHODS, 2)},
        "parameters": _All(9, _parameter),
    },
    10,
)

# -- the document

_API_KEY = _message(
    {"type": _Text(1), "name": _Text(2), "in": _Text(3), "description": _Text(4)}, 5
)
_DOCUMENT = _message(
    {
        "swagger": _Text(1),
        "info": _Of(2, _message({"title": _Text(1), "version": _Text(2), "description": _Text(3)})),
        "paths": _Of(8, _map(2, _PATH)),
        "definitions": _Of(9, _map(1, _schema)),
        "security": _All(12, _map(1, _Texts(1))),
        "securityDefinitions": _Of(13, _map(1, lambda value: _field(2, _API_KEY(value)))),
    },
    16,
)


def encode_v2(document: Mapping[str, Any]) -> bytes:
    """The bytes of a document of :func:`cove.kube.catalogue.openapi.v2`."""
    return _DOCUMENT(document)
