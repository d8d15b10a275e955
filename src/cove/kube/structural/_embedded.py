"""Validation of the type and metadata of embedded resources (``schema/objectmeta``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.metadata import validate_object_meta
from cove.kube.names import is_dns1035_label, is_path_segment_name
from cove.kube.structural._schema import Schema

__all__ = ["validate_embedded"]

Errors = list[FieldError]
Check = Callable[[Any, str, Errors], None]


def validate_embedded(schema: Schema, value: Any, path: str = "", *, root: bool = False) -> Errors:
    """The faults of every embedded resource in a value; ``root``: the value is one itself."""
    errors: Errors = []
    if root and isinstance(value, dict):
        _resource(value, path, errors)
    check = _compiled(schema)
    if check is not None:
        check(value, path, errors)
    return errors


def _compiled(schema: Schema) -> Check | None:
    if "embedded" not in schema.cache:
        schema.cache["embedded"] = _build(schema)
    found: Check | None = schema.cache["embedded"]
    return found


def _build(schema: Schema) -> Check | None:
    properties = {n: c for n, s in schema.properties.items() if (c := _compiled(s)) is not None}
    values = _compiled(schema.values) if schema.values is not None else None
    items = _compiled(schema.items) if schema.items is not None else None
    own = schema.embedded
    if not properties and values is None and items is None and not own:
        return None

    def check(value: Any, path: str, errors: Errors) -> None:
        if value.__class__ is dict:
            if own:
                _resource(value, path, errors)
            dot = f"{path}." if path else ""
            for name, item in value.items():
                inner = properties.get(name)
                if inner is not None:
                    inner(item, dot + name, errors)
                elif values is not None and name not in schema.properties:
                    values(item, f"{path}[{name}]", errors)
        elif value.__class__ is list and items is not None:
            for index, item in enumerate(value):
                items(item, f"{path}[{index}]", errors)

    return check


def _resource(value: dict[str, Any], path: str, errors: Errors) -> None:
    dot = f"{path}." if path else ""
    for name in ("apiVersion", "kind"):
        if name not in value:
            errors.append(fe.required(dot + name))
            continue
        found = value[name]
        if not isinstance(found, str):
            errors.append(fe.invalid(dot + name, found, "must be a string"))
        elif not found:
            errors.append(fe.invalid(dot + name, found, "must not be empty"))
        elif name == "apiVersion" and found.count("/") > 1:
            why = f"unexpected GroupVersion string: {found}"
            errors.append(fe.invalid(dot + name, found, why))
        elif name == "kind" and (faults := is_dns1035_label(found.lower())):
            why = "may have mixed case, but should otherwise match: " + ",".join(faults)
            errors.append(fe.invalid(dot + name, found, why))
    meta = value.get("metadata")
    if isinstance(meta, dict):
        if not meta.get("name"):
            meta = {**meta, "name": "fakename"}
        errors += validate_object_meta(
            meta,
            namespaced=bool(meta.get("namespace")),
            name_check=is_path_segment_name,
            path=dot + "metadata",
            core_finalizers=False,
        )
