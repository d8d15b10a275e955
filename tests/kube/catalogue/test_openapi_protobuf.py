"""The Swagger 2 document as protobuf, read back by google.protobuf with upstream's messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

from cove.kube.catalogue.openapi import CustomKind, v2
from cove.kube.catalogue.openapi_protobuf import encode_v2

# Names and numbers of gnostic's messages, as OpenAPIv2.proto has them: a message, then
# "number name type" of each field.
MESSAGES = Path(__file__).parent / "openapi_v2_messages.txt"
SCALARS = {"string": 9, "bool": 8, "int64": 3, "double": 1}

EXTREMES = CustomKind(
    "stable.example.com",
    "v1",
    "Extreme",
    "extremes",
    True,
    {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "description": "Müßte „gehen“ ☃",
                "x-kubernetes-validations": [{"rule": "self.a < self.b", "message": "a: b\n- c"}],
                "properties": {
                    "low": {"type": "integer", "minimum": -(2**63), "maximum": 2**40},
                    "half": {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": True},
                    "word": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 300},
                    "one": {"enum": ["a", "", None, 1, {"b": [True]}]},
                    "many": {
                        "type": "array",
                        "items": {"type": "string", "format": "date-time"},
                        "maxItems": 2**31,
                        "uniqueItems": True,
                        "x-kubernetes-list-type": "set",
                    },
                    "closed": {"type": "object", "additionalProperties": False},
                    "open": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "either": {"x-kubernetes-int-or-string": True, "title": "t", "example": [1]},
                    "docs": {"type": "string", "externalDocs": {"url": "https://example.com"}},
                    "": {"type": "string", "minLength": 128},
                },
            }
        },
    },
    ("status", "scale"),
)


def document_type() -> Any:
    """The class of ``openapi.v2.Document``."""
    file = descriptor_pb2.FileDescriptorProto(
        name="openapi_v2.proto", package="openapi.v2", syntax="proto3"
    )
    any_ = file.message_type.add(name="GoogleAny")
    any_.field.add(name="type_url", number=1, type=9, label=1)
    any_.field.add(name="value", number=2, type=12, label=1)
    for line in MESSAGES.read_text().splitlines():
        if not line.startswith(" "):
            message = file.message_type.add(name=line)
            continue
        number, name, type = line.split()
        field = message.field.add(name=name, number=int(number))
        field.label = 3 if type.startswith("[]") else 1
        type = type.removeprefix("[]")
        if type in SCALARS:
            field.type = SCALARS[type]
        else:
            field.type = 11
            type = "GoogleAny" if type == "google.protobuf.Any" else type
            field.type_name = f".openapi.v2.{type}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("openapi.v2.Document"))


def camel(name: str) -> str:
    head, *rest = name.lstrip("_").split("_")
    return ("$" if name == "_ref" else "") + head + "".join(word.capitalize() for word in rest)


def plain(message: Any) -> Any:
    """The JSON that a message stands for: pairs are maps, oneofs what is in them."""
    kind = message.DESCRIPTOR.name
    assert not len(UnknownFieldSet(message))
    if kind == "Any":
        return yaml.safe_load(message.yaml)
    if kind in ("StringArray", "TypeItem"):
        values = list(message.value)
        return values[0] if kind == "TypeItem" and len(values) == 1 else values
    if kind == "AdditionalPropertiesItem":
        return plain(message.schema) if message.HasField("schema") else message.boolean
    if kind == "ItemsItem":
        (only,) = message.schema
        return plain(only)
    fields = message.ListFields()
    if kind.endswith(("Item", "Value", "Parameter")) and kind not in ("PathItem", "BodyParameter"):
        ((_, only),) = fields
        return plain(only)
    out: dict[str, Any] = {}
    for field, value in fields:
        if field.name in (
            "vendor_extension", "additional_properties", "path", "response_code"
        ) and not hasattr(value, "DESCRIPTOR"):  # fmt: skip
            for pair in value:
                assert pair.name not in out
                out[pair.name] = plain(pair.value)
        elif field.is_repeated:
            out[camel(field.name)] = [v if isinstance(v, str) else plain(v) for v in value]
        else:
            scalar = isinstance(value, str | bool | int | float)
            out[camel(field.name)] = value if scalar else plain(value)
    return out


@pytest.mark.parametrize("extra", [[], [EXTREMES]], ids=["built-in", "custom"])
def test_it_says_what_the_json_says(extra: list[CustomKind]) -> None:
    document = v2(extra)

    message = document_type().FromString(encode_v2(document))

    for path in document["paths"].values():
        # Protobuf knows no difference between an empty list and none.
        if not path.get("parameters", True):
            del path["parameters"]
    assert plain(message) == document


def test_it_is_no_larger_than_the_json() -> None:
    document = v2()
    assert len(encode_v2(document)) < len(orjson.dumps(document))


def test_fields_that_are_null_are_left_out() -> None:
    encoded = encode_v2({"swagger": "2.0", "info": {"title": None, "version": "v1"}})
    message = document_type().FromString(encoded)
    assert plain(message) == {"swagger": "2.0", "info": {"version": "v1"}}
