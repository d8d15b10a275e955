"""What a marker adds to a schema, and where it has no business.

Checks here are those that a type and its marker settle between them; what needs the whole
schema (rules, defaults, paths) is checked when the CRD is put together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube.structural import PatternError, compile_pattern, is_known_format
from cove.operator.errors import SchemaError
from cove.operator.markers import (
    Default,
    Description,
    Embedded,
    ExternalDocs,
    Format,
    Immutable,
    Items,
    Length,
    ListAtomic,
    ListMap,
    ListSet,
    MapAtomic,
    MapGranular,
    MultipleOf,
    Nullable,
    Pattern,
    PreserveUnknown,
    Properties,
    Range,
    Rule,
)

__all__ = ["apply", "foreign_markers"]

Schema = dict[str, Any]
_LIST_TYPE = "x-kubernetes-list-type"
_MAP_TYPE = "x-kubernetes-map-type"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_WORDS = {
    "array": "a list",
    "boolean": "a boolean",
    "int-or-string": "an IntOrString",
    "integer": "an integer",
    "number": "a number",
    "object": "an object",
    "string": "a string",
    "": "a value of any type",
}
_RULES = "x-kubernetes-validations"


def apply(schema: Schema, markers: tuple[Any, ...], path: str) -> None:
    """Write what markers say into a schema; SchemaError for one that does not fit its type."""
    for marker in markers:
        handler = _HANDLERS.get(type(marker))
        if handler is not None:
            try:
                handler(schema, marker)
            except _WrongError as error:
                raise SchemaError(path, f"{type(marker).__name__}: {error}") from error


class _WrongError(Exception):
    """What is wrong with a marker where it stands."""


def _is(schema: Schema, *kinds: str) -> None:
    kind = schema.get("type") or ("int-or-string" if _is_leaf(schema) else "")
    if kind not in kinds:
        wanted = " or ".join(_WORDS[k] for k in kinds)
        raise _WrongError(f"is for {wanted}, and this is {_WORDS[kind]}")


def _is_leaf(schema: Schema) -> bool:
    return "x-kubernetes-int-or-string" in schema


def _bounds(schema: Schema, low: Any, high: Any, least: str, most: str) -> None:
    if low is None and high is None:
        raise _WrongError("says neither a least nor a most")
    for value in (low, high):
        if value is not None and least != "minimum" and value < 0:
            raise _WrongError(f"{value} is below zero")
    if low is not None and high is not None and low > high:
        raise _WrongError(f"nothing is between {low} and {high}")
    if low is not None:
        schema[least] = low
    if high is not None:
        schema[most] = high


def _description(schema: Schema, marker: Description) -> None:
    schema["description"] = marker.text


def _external_docs(schema: Schema, marker: ExternalDocs) -> None:
    described = {"description": marker.description} if marker.description else {}
    schema["externalDocs"] = {**described, "url": marker.url}


def _items(schema: Schema, marker: Items) -> None:
    _is(schema, "array")
    if marker.min is not None or marker.max is not None or not marker.unique:
        _bounds(schema, marker.min, marker.max, "minItems", "maxItems")
    if marker.unique:
        try:
            _list_set(schema, marker)
        except _WrongError as error:
            raise _WrongError(
                f"unique: CRDs forbid uniqueItems, and a list-type set {error}"
            ) from error


def _list_set(schema: Schema, marker: Any) -> None:
    _is(schema, "array")
    if schema["items"].get("type") in ("object", "array", None):
        raise _WrongError("holds scalars only; ListMap tells objects apart by keys")
    _list_type(schema, "set")


def _list_type(schema: Schema, name: str) -> None:
    known = schema.get(_LIST_TYPE)
    if known not in (None, name):
        raise _WrongError(f"the list is {known} already")
    schema[_LIST_TYPE] = name


def _list_atomic(schema: Schema, marker: ListAtomic) -> None:
    _is(schema, "array")
    _list_type(schema, "atomic")


def _list_map(schema: Schema, marker: ListMap) -> None:
    _is(schema, "array")
    items = schema["items"]
    if items.get("type") != "object":
        raise _WrongError("is for a list of objects; a list of scalars can be a ListSet")
    properties = items.get("properties") or {}
    for key in marker.keys:
        known = properties.get(key)
        if known is None:
            names = ", ".join(properties) or "none"
            raise _WrongError(f"the elements have no field {key!r}, but {names}")
        if known.get("type") in ("object", "array", None):
            raise _WrongError(f"the key {key!r} is no plain value")
        if key not in (items.get("required") or ()) and "default" not in known:
            raise _WrongError(f"the key {key!r} has to be required or have a default")
    _list_type(schema, "map")
    schema["x-kubernetes-list-map-keys"] = list(marker.keys)


def _map_type(name: str) -> Callable[[Schema, Any], None]:
    def handle(schema: Schema, marker: Any) -> None:
        _is(schema, "object")
        if schema.get(_MAP_TYPE, name) != name:
            raise _WrongError(f"the object is {schema[_MAP_TYPE]} already")
        schema[_MAP_TYPE] = name

    return handle


def _properties(schema: Schema, marker: Properties) -> None:
    _is(schema, "object")
    _bounds(schema, marker.min, marker.max, "minProperties", "maxProperties")


def _length(schema: Schema, marker: Length) -> None:
    _is(schema, "string")
    _bounds(schema, marker.min, marker.max, "minLength", "maxLength")


def _multiple_of(schema: Schema, marker: MultipleOf) -> None:
    _is(schema, "integer", "number")
    if marker.value <= 0:
        raise _WrongError(f"{marker.value} is not above zero")
    schema["multipleOf"] = marker.value


def _pattern(schema: Schema, marker: Pattern) -> None:
    if not _is_leaf(schema):
        _is(schema, "string")
    try:
        compile_pattern(marker.regex)
    except PatternError as error:
        raise _WrongError(str(error)) from error
    schema["pattern"] = marker.regex


def _range(schema: Schema, marker: Range) -> None:
    _is(schema, "integer", "number")
    _bounds(schema, marker.min, marker.max, "minimum", "maximum")
    for exclusive, bound, name in (
        (marker.exclusive_min, marker.min, "exclusiveMinimum"),
        (marker.exclusive_max, marker.max, "exclusiveMaximum"),
    ):
        if not exclusive:
            continue
        if bound is None:
            raise _WrongError("is exclusive of a bound that it does not have")
        if marker.min == marker.max:
            raise _WrongError(f"nothing is left of {bound} without itself")
        schema[name] = True


def _format(schema: Schema, marker: Format) -> None:
    _is(schema, "string", "integer", "number")
    if not is_known_format(marker.name, schema["type"]):
        raise _WrongError(f"Kubernetes knows no format {marker.name!r} of {schema['type']}s")
    schema["format"] = marker.name


def _preserve(schema: Schema, marker: PreserveUnknown) -> None:
    if _is_leaf(schema) or schema.get("type") not in (None, "object"):
        _is(schema, "object")
    if "additionalProperties" in schema:
        raise _WrongError("every key of this map is known; dict[str, Any] takes any value")
    schema[_PRESERVE] = True


def _embedded(schema: Schema, marker: Embedded) -> None:
    _is(schema, "object")
    if "additionalProperties" in schema:
        raise _WrongError("a map of one type is no object with metadata; use dict[str, Any]")
    schema["x-kubernetes-embedded-resource"] = True
    if not schema.get("properties"):
        schema[_PRESERVE] = True


def _nullable(schema: Schema, marker: Nullable) -> None:
    schema["nullable"] = True


def _default(schema: Schema, marker: Default) -> None:
    from cove.operator.entities._documents import json_value

    try:
        schema["default"] = json_value(marker.value)
    except TypeError as error:
        raise _WrongError(str(error)) from error


def _rule(schema: Schema, marker: Rule) -> None:
    rows = {
        "rule": marker.rule,
        "message": marker.message,
        "messageExpression": marker.message_expression,
        "reason": marker.reason,
        "fieldPath": marker.field_path,
        "optionalOldSelf": marker.optional_old_self,
    }
    schema.setdefault(_RULES, []).append({k: v for k, v in rows.items() if v})


def _immutable(schema: Schema, marker: Immutable) -> None:
    _rule(schema, Rule("self == oldSelf", marker.message))


_HANDLERS: dict[type, Callable[[Schema, Any], None]] = {
    Default: _default,
    Description: _description,
    Embedded: _embedded,
    ExternalDocs: _external_docs,
    Format: _format,
    Immutable: _immutable,
    Items: _items,
    Length: _length,
    ListAtomic: _list_atomic,
    ListMap: _list_map,
    ListSet: _list_set,
    MapAtomic: _map_type("atomic"),
    MapGranular: _map_type("granular"),
    MultipleOf: _multiple_of,
    Nullable: _nullable,
    Pattern: _pattern,
    PreserveUnknown: _preserve,
    Properties: _properties,
    Range: _range,
    Rule: _rule,
}


def foreign_markers(extra: Any) -> list[Any]:
    """What ``msgspec.Meta`` and the classes of ``annotated_types`` say, in our markers.

    They are told by their attributes, as they are meant to be; what says nothing is no marker.
    """
    out: list[Any] = []
    text = getattr(extra, "description", None)
    if isinstance(text, str):
        out.append(Description(text))
    low, high = getattr(extra, "ge", None), getattr(extra, "le", None)
    above, below = getattr(extra, "gt", None), getattr(extra, "lt", None)
    if any(v is not None for v in (low, high, above, below)):
        out.append(
            Range(
                low if above is None else above,
                high if below is None else below,
                exclusive_min=above is not None,
                exclusive_max=below is not None,
            )
        )
    divisor = getattr(extra, "multiple_of", None)
    if divisor is not None:
        out.append(MultipleOf(divisor))
    pattern = getattr(extra, "pattern", None)
    if isinstance(pattern, str):
        out.append(Pattern(pattern))
    least, most = getattr(extra, "min_length", None), getattr(extra, "max_length", None)
    if least is not None or most is not None:
        out.append(_Size(least, most))
    return out


class _Size(Length, frozen=True):
    """A length of whatever has one: a string, a list, a map."""


def _size(schema: Schema, marker: _Size) -> None:
    kind = schema.get("type")
    if kind == "array":
        _items(schema, Items(marker.min, marker.max))
    elif kind == "object":
        _properties(schema, Properties(marker.min, marker.max))
    else:
        _length(schema, marker)


_HANDLERS[_Size] = _size
