"""From a type to its schema, marker by marker.

One :class:`Builder` walks one type; it knows the way it came, for errors and for types that
contain themselves, and gathers the columns that fields ask for.
"""

from __future__ import annotations

import enum
import types
from collections import abc
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

import msgspec

from cove.kube.quantity import Quantity
from cove.operator.entities._documents import json_value
from cove.operator.entities._entity import Entity
from cove.operator.entities._hints import strip
from cove.operator.entities._metadata import ObjectMeta
from cove.operator.entities._values import is_pydantic
from cove.operator.errors import EntityError, SchemaError
from cove.operator.markers import (
    Column,
    Default,
    Description,
    Ignore,
    Leaf,
    ListMap,
    Marker,
    PreserveUnknown,
    Required,
    markers_of,
)
from cove.operator.schema._docs import class_doc
from cove.operator.schema._markers import apply, foreign_markers
from cove.operator.schema._members import Member, is_part, members

__all__ = ["Builder", "Found"]

Schema = dict[str, Any]
_QUANTITY = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$"


def _int_or_string(pattern: str = "") -> Schema:
    out: Schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }
    return {**out, "pattern": pattern} if pattern else out


_LEAVES: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    str: {"type": "string"},
    bytes: {"type": "string", "format": "byte"},
    date: {"type": "string", "format": "date"},
    UUID: {"type": "string", "format": "uuid"},
}
# What the metadata inside a template may say; of the rest, the API server keeps the books.
_TEMPLATE_METADATA = ("name", "generateName", "namespace", "labels", "annotations", "finalizers")


class Found(NamedTuple):
    """A column that a field asks for, where the field is, and what it is."""

    column: Column
    path: str
    schema: Schema


class Builder:
    """One walk over a type.  ``columns`` are those of the fields it came by."""

    def __init__(self) -> None:
        self.columns: list[Found] = []
        self._open: list[type] = []

    def schema(
        self, hint: Any, path: str, extras: tuple[Any, ...] = (), *, part: bool = False
    ) -> Schema:
        """The schema of a type; ``part``: of a field in a built-in kind, where nothing is null."""
        meant, own, nullable = strip(hint)
        markers = _markers((*own, *extras), path)
        out = self._type(meant, path, markers)
        if nullable and not part:
            out["nullable"] = True
        apply(out, markers, path)
        if out.get("nullable") and "enum" in out:
            out["enum"] = [*out["enum"], None]  # a null has to be among them, too
        for marker in markers:
            if isinstance(marker, Column):
                self._column(marker, path, out)
        return out

    def _column(self, column: Column, path: str, schema: Schema) -> None:
        if "[*]" in path and not column.json_path:
            raise SchemaError(
                path, f"Column {column.name!r}: a column of many values needs a json_path"
            )
        self.columns.append(Found(column, path, schema))

    def _type(self, hint: Any, path: str, markers: tuple[Any, ...]) -> Schema:
        for marker in markers:
            if isinstance(marker, Leaf):
                return _int_or_string(_QUANTITY if marker.name == "Quantity" else "")
        if hint in (Any, object):
            return {"x-kubernetes-preserve-unknown-fields": True}
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Literal:
            return self._enum(arguments, path)
        if origin in (Union, types.UnionType):
            names = " and ".join(_name(a) for a in arguments)
            hint_ = " (IntOrString is int | str)" if set(arguments) == {int, str} else ""
            raise SchemaError(path, f"a union of {names}: a schema in a CRD has one type{hint_}")
        if origin is not None or hint in (list, set, frozenset, dict, tuple):
            return self._container(origin or hint, arguments, path, markers)
        if not isinstance(hint, type):
            raise SchemaError(path, f"{_name(hint)} is no type that a CRD can express")
        return self._class(hint, path, markers)

    def _class(self, cls: type, path: str, markers: tuple[Any, ...]) -> Schema:
        leaf = _LEAVES.get(cls)
        if leaf is not None:
            return dict(leaf)
        if issubclass(cls, datetime):
            return {"type": "string", "format": "date-time"}
        if issubclass(cls, timedelta):
            return {"type": "string", "format": "duration"}
        if cls is Quantity:
            return _int_or_string(_QUANTITY)
        if issubclass(cls, enum.Enum):
            return self._enum(tuple(member.value for member in cls), path)
        if cls is ObjectMeta and path != "metadata":
            return self._template_metadata(path)
        if isinstance(cls, msgspec.StructMeta) or is_pydantic(cls):
            return self._object(cls, path, markers)
        raise SchemaError(path, f"{cls.__name__} is no type that a CRD can express")

    def _enum(self, values: tuple[Any, ...], path: str) -> Schema:
        kinds = {type(v) for v in values if v is not None}
        names = {str: "string", int: "integer", bool: "boolean", float: "number"}
        if len(kinds) != 1 or (kind := kinds.pop()) not in names:
            raise SchemaError(path, f"values of several types: {', '.join(map(repr, values))}")
        out: Schema = {"type": names[kind], "enum": [v for v in values if v is not None]}
        if None in values:
            out["nullable"] = True
        return out

    def _container(
        self, origin: Any, arguments: tuple[Any, ...], path: str, markers: tuple[Any, ...]
    ) -> Schema:
        if isinstance(origin, type) and issubclass(origin, dict):
            return self._map(arguments, path)
        if origin is tuple and arguments and arguments[-1] is not ...:
            raise SchemaError(
                path, "a tuple with places of their own: a list in a CRD has one type"
            )
        if origin not in (list, set, frozenset, tuple, abc.Sequence):
            raise SchemaError(path, f"{_name(origin)} is no type that a CRD can express")
        inner = arguments[0] if arguments else Any
        out: Schema = {"type": "array", "items": self.schema(inner, f"{path}[*]")}
        if is_part(strip(inner)[0]):
            _complete_keys(out["items"], markers)
        if origin in (set, frozenset):
            out["x-kubernetes-list-type"] = "set"
            if out["items"].get("type") in ("object", "array", None):
                raise SchemaError(
                    path, "a set of what is no plain value: only scalars can be compared"
                )
        return out

    def _map(self, arguments: tuple[Any, ...], path: str) -> Schema:
        key, value = arguments if len(arguments) == 2 else (str, Any)
        if strip(key)[0] is not str:
            raise SchemaError(path, f"keys of {_name(key)}: those of documents are strings")
        if strip(value)[0] in (Any, object):
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return {"type": "object", "additionalProperties": self.schema(value, f"{path}[*]")}

    def _template_metadata(self, path: str) -> Schema:
        whole = self._object(ObjectMeta, path, ())
        kept = {name: whole["properties"][name] for name in _TEMPLATE_METADATA}
        return {"type": "object", "properties": kept}

    def _object(self, cls: Any, path: str, markers: tuple[Any, ...]) -> Schema:
        if cls in self._open:
            if any(isinstance(m, PreserveUnknown) for m in markers):
                return {"type": "object"}
            raise SchemaError(
                path,
                f"{cls.__name__} contains itself: a schema in a CRD has an end. "
                "PreserveUnknown makes an object of any fields of it",
            )
        self._open.append(cls)
        try:
            return self._fields(cls, path)
        finally:
            self._open.pop()

    def _in_built_in(self) -> bool:
        """Whether what is being looked at is inside of a built-in type: a template, no object."""
        return len(self._open) > 1 and is_part(self._open[-2])

    def _fields(self, cls: Any, path: str) -> Schema:
        out: Schema = {"type": "object"}
        if text := class_doc(cls):
            out["description"] = text
        properties: Schema = {}
        required: list[str] = []
        whole = issubclass(cls, Entity) and not self._in_built_in()
        if issubclass(cls, Entity):
            properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
            if path and whole:
                out["x-kubernetes-embedded-resource"] = True
        for member in _members(cls, path):
            place = f"{path}.{member.name}" if path else member.name
            markers = _markers((*strip(member.hint)[1], *member.extras), place)
            if any(isinstance(m, Ignore) for m in markers):
                if not member.optional:
                    raise SchemaError(place, "an ignored field needs a default")
                continue
            if member.name == "metadata" and whole:
                properties["metadata"] = {"type": "object"}
                continue
            properties[member.name] = self._member(cls, member, place, markers)
            if _is_required(member, markers):
                required.append(member.name)
        if properties:
            out["properties"] = properties
        if required:
            out["required"] = required
        apply(out, _markers(markers_of(cls), path), path)
        return out

    def _member(self, cls: Any, member: Member, path: str, markers: tuple[Any, ...]) -> Schema:
        part = is_part(cls)
        out = self.schema(member.hint, path, member.extras, part=part)
        given = any(isinstance(m, Description) for m in markers)
        if member.docs and not given:
            out["description"] = member.docs
        if "default" not in out and not part and not any(isinstance(m, Required) for m in markers):
            default = _default(member, path)
            if default not in (None, [], {}) and path != "status":
                out["default"] = default
        return _ordered(out)


def _complete_keys(items: Schema, markers: tuple[Any, ...]) -> None:
    """Keys of built-in lists that may be absent are their zero then, as in Go."""
    for marker in markers:
        for key in marker.keys if isinstance(marker, ListMap) else ():
            known = items.get("properties", {}).get(key)
            if known is not None and key not in items.get("required", ()):
                known.setdefault("default", 0 if known.get("type") == "integer" else "")


def _members(cls: Any, path: str) -> list[Member]:
    try:
        return list(members(cls))
    except EntityError as error:
        raise SchemaError(path, str(error)) from error


def _is_required(member: Member, markers: tuple[Any, ...]) -> bool:
    if any(isinstance(m, Required) for m in markers):
        return True
    return not member.optional and not any(isinstance(m, Default) for m in markers)


def _default(member: Member, path: str) -> Any:
    """Python's default as the API server fills it in; None for none."""
    if member.default in (msgspec.NODEFAULT, None, b""):
        return None
    try:
        return json_value(member.default)
    except TypeError as error:
        raise SchemaError(path, f"default: {error}") from error


def _markers(extras: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    """The markers among what was annotated, those of msgspec and pydantic in our words."""
    out: list[Any] = []
    for extra in extras:
        if isinstance(extra, (Marker, ListMap)):
            out.append(extra)
        elif isinstance(extra, type) and issubclass(extra, (Marker, ListMap)):
            try:
                made: Any = extra
                out.append(made())
            except TypeError as error:
                raise SchemaError(path, f"{extra.__name__} needs its arguments: {error}") from error
        else:
            out += foreign_markers(extra)
    return tuple(out)


_ORDER = ("description", "externalDocs", "type", "format", "nullable", "default")


def _ordered(schema: Schema) -> Schema:
    """What people look for first comes first."""
    first = {key: schema[key] for key in _ORDER if key in schema}
    return {**first, **schema}


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
