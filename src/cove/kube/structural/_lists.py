"""Uniqueness in lists that are sets or maps (``pkg/apiserver/schema/listtype``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.structural._schema import Schema

__all__ = ["validate_lists"]

Errors = list[FieldError]
Check = Callable[[Any, str, Errors], None]


def validate_lists(schema: Schema, obj: dict[str, Any]) -> Errors:
    """The repeated elements of every set and map list of a custom resource."""
    check = _compiled(schema)
    if check is None:
        return []
    errors: Errors = []
    check(obj, "", errors)
    return errors


def _compiled(schema: Schema) -> Check | None:
    """The check of a node, None where nothing below it is a set or map."""
    if "lists" not in schema.cache:
        schema.cache["lists"] = _build(schema)
    found: Check | None = schema.cache["lists"]
    return found


def _build(schema: Schema) -> Check | None:
    properties = {n: c for n, s in schema.properties.items() if (c := _compiled(s)) is not None}
    values = _compiled(schema.values) if schema.values is not None else None
    items = _compiled(schema.items) if schema.items is not None else None
    unique: Check | None = None
    if schema.list_type == "set":
        unique = _set
    elif schema.list_type == "map":
        unique = _map(schema.list_keys)
    if not properties and values is None and items is None and unique is None:
        return None

    def check(value: Any, path: str, errors: Errors) -> None:
        if value.__class__ is list:
            if unique is not None:
                unique(value, path, errors)
            if items is not None:
                for index, item in enumerate(value):
                    items(item, f"{path}[{index}]", errors)
        elif value.__class__ is dict:
            dot = f"{path}." if path else ""
            if values is not None:
                for name, item in value.items():
                    values(item, f"{path}[{name}]", errors)
            for name, inner in properties.items():
                if name in value:
                    inner(value[name], dot + name, errors)

    return check


def _key(value: Any) -> Any:
    """What makes an element the same as another one; tells true from 1."""
    if value.__class__ is dict or value.__class__ is list:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return value.__class__, value


def _repeated(keys: list[Any]) -> list[int]:
    """The places where a key appears for the second time."""
    seen: dict[Any, int] = {}
    out = []
    for index, key in enumerate(keys):
        times = seen[key] = seen.get(key, 0) + 1
        if times == 2:
            out.append(index)
    return out


def _set(value: list[Any], path: str, errors: Errors) -> None:
    if len(value) > 1:
        for index in _repeated([_key(v) for v in value]):
            errors.append(fe.duplicate(f"{path}[{index}]", value[index]))


def _map(keys: tuple[str, ...]) -> Check:
    def check(value: list[Any], path: str, errors: Errors) -> None:
        for index, item in enumerate(value):
            if item is not None and item.__class__ is not dict:
                why = "must be an object for an array of list-type map"
                errors.append(fe.invalid(f"{path}[{index}]", item, why))
                return
        if len(value) <= 1:
            return
        identities = [{k: item[k] for k in keys if k in (item or ())} for item in value]
        for index in _repeated([_key(i) for i in identities]):
            shown = {k: identities[index][k] for k in sorted(identities[index])}
            errors.append(fe.duplicate(f"{path}[{index}]", shown))

    return check
