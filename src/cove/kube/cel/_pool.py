"""Protobuf descriptors of schemas, so that cel-cpp's type checker knows their fields.

Only types are made this way: values are plain dicts and lists.
"""

from __future__ import annotations

from typing import Any

from cove.kube.cel._types import DeclType

__all__ = ["K8S_TYPES", "new_pool", "type_of"]

# Values that Kubernetes' functions make, as messages of one text.
K8S_TYPES = {
    "kubernetes": ("Quantity", "URL", "Semver", "NamedFormat"),
    "net": ("IP", "CIDR"),
    # ResourceCheck first: the authorizer has a field of it.
    "kubernetes.authorization": (
        "ResourceCheck",
        "GroupCheck",
        "PathCheck",
        "Decision",
        "Authorizer",
    ),
}
_SCALARS = {"bool": 8, "double": 1, "int": 3, "string": 9, "bytes": 12}
_MESSAGES = {
    "dyn": ".google.protobuf.Value",
    "duration": ".google.protobuf.Duration",
    "timestamp": ".google.protobuf.Timestamp",
}
_OPTIONAL, _REPEATED, _MESSAGE = 1, 3, 11


def new_pool() -> Any:
    """A descriptor pool with the well-known types and Kubernetes' own."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        duration_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    pool = descriptor_pool.DescriptorPool()
    for module in (duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for package, names in K8S_TYPES.items():
        file = descriptor_pb2.FileDescriptorProto(
            name=f"{package}.proto", package=package, syntax="proto3"
        )
        for name in names:
            message = file.message_type.add(name=name)
            message.field.add(name="value", number=1, type=9, label=_OPTIONAL)
            if name == "Authorizer":
                message.field.add(
                    name="requestResource",
                    number=2,
                    type=_MESSAGE,
                    type_name=f".{package}.ResourceCheck",
                    label=_OPTIONAL,
                )
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def type_of(pool: Any, type: DeclType, cel: Any, name: str = "self") -> Any:
    """The CEL type of a schema, its objects being messages that are added to ``pool``.

    ``name`` tells several types of a pool apart.
    """
    return _Types(pool, cel, name).declare(type)


class _Types:
    def __init__(self, pool: Any, cel: Any, name: str) -> None:
        from google.protobuf import descriptor_pb2

        self.name = name
        self.pool = pool
        self.cel = cel
        self.file = descriptor_pb2.FileDescriptorProto(
            name=f"{name}.proto",
            syntax="proto2",
            dependency=[
                "google/protobuf/struct.proto",
                "google/protobuf/duration.proto",
                "google/protobuf/timestamp.proto",
            ],
        )
        self.count = 0

    def declare(self, type: DeclType) -> Any:
        found = self._type(type)
        if self.file.message_type:
            self.pool.AddSerializedFile(self.file.SerializeToString())
        return found

    def _type(self, type: DeclType) -> Any:
        t = self.cel.Type
        if type.kind == "list":
            assert type.items is not None
            return t.List(self._type(type.items))
        if type.kind == "map":
            assert type.items is not None
            return t.Map(t.STRING, self._type(type.items))
        if type.kind == "object":
            return t(self._message(type))
        return {
            "dyn": t.DYN,
            "string": t.STRING,
            "bytes": t.BYTES,
            "duration": t.DURATION,
            "timestamp": t.TIMESTAMP,
            "bool": t.BOOL,
            "double": t.DOUBLE,
            "int": t.INT,
        }[type.kind]

    def _message(self, type: DeclType) -> str:
        name = f"{self.name}Type{self.count}"
        self.count += 1
        message = self.file.message_type.add(name=name)
        for number, (field, inner) in enumerate(type.fields.items(), 1):
            # 19000 to 19999 are protobuf's own.
            number += 1000 if number >= 19000 else 0
            made = message.field.add(name=field, number=number, json_name=f"f{number}")
            self._field(made, inner, message)
        return name

    def _field(self, field: Any, type: DeclType, message: Any) -> None:
        field.label = _OPTIONAL
        if type.kind in _SCALARS:
            field.type = _SCALARS[type.kind]
        elif type.kind in _MESSAGES:
            field.type, field.type_name = _MESSAGE, _MESSAGES[type.kind]
        elif type.kind == "object":
            field.type, field.type_name = _MESSAGE, f".{self._message(type)}"
        elif type.kind == "list":
            assert type.items is not None
            if type.items.kind in ("list", "map"):
                # Protobuf has no lists of lists: the elements are not typed.
                field.type, field.type_name = _MESSAGE, ".google.protobuf.ListValue"
                return
            self._field(field, type.items, message)
            field.label = _REPEATED
        else:
            assert type.items is not None
            if type.items.kind in ("list", "map"):
                field.type, field.type_name = _MESSAGE, ".google.protobuf.Struct"
                return
            entry_name = f"{_camel(field.name)}Entry"
            entry = message.nested_type.add(name=entry_name)
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=9, label=_OPTIONAL)
            value = entry.field.add(name="value", number=2)
            self._field(value, type.items, message)
            field.type, field.type_name = _MESSAGE, f".{message.name}.{entry_name}"
            field.label = _REPEATED


def _camel(name: str) -> str:
    """How protobuf names the entries of a map field."""
    out = []
    upper = True
    for char in name:
        if char == "_":
            upper = True
            continue
        out.append(char.upper() if upper else char)
        upper = False
    return "".join(out)
