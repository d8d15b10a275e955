"""Validation of the defaults in a schema (``pkg/apiserver/schema/defaulting/validation.go``)."""

from __future__ import annotations

from typing import Any

from cove.kube import field_errors as fe
from cove.kube.cel import rules
from cove.kube.field_errors import FieldError
from cove.kube.structural import (
    EmbeddedMetadataError,
    Schema,
    normalize,
    unknown_fields,
    validate_embedded,
    validate_value,
)

__all__ = ["validate_defaults"]

Errors = list[FieldError]
_META = ("apiVersion", "kind", "metadata")


def validate_defaults(root: Schema, path: str, *, require_pruned: bool) -> Errors:
    """The faults of every default below ``root``."""
    errors: Errors = []
    _walk(root, path, True, False, require_pruned, errors)
    return errors


def _walk(
    schema: Schema, path: str, resource: bool, in_meta: bool, pruned: bool, errors: Errors
) -> None:
    resource = resource or schema.embedded
    if resource:
        in_meta = False
    if schema.has_default:
        _check(schema, f"{path}.default", in_meta, pruned, errors)
    if schema.items is not None:
        _walk(schema.items, f"{path}.items", False, in_meta, pruned, errors)
    for name, inner in schema.properties.items():
        meta = in_meta or (resource and name in _META)
        _walk(inner, f"{path}.properties[{name}]", False, meta, pruned, errors)


def _check(schema: Schema, path: str, in_meta: bool, pruned: bool, errors: Errors) -> None:
    value = schema.default
    if not in_meta:
        if pruned and _has_unknown(schema, value):
            errors.append(fe.invalid(path, value, "must not have unknown fields"))
        faults = validate_embedded(schema, value, path)
        if faults:
            errors += faults
            return
    faults = validate_value(schema, value, path)
    if faults:
        errors += faults
        return
    checked = rules(schema, root=schema.embedded)
    if checked is None:
        return
    # Once as a value that stays, once as one that appears.
    found = checked.validate(value, value, path)
    errors += found or checked.validate(value, None, path)


def _has_unknown(schema: Schema, value: Any) -> bool:
    probe = Schema({"type": "object", "properties": {"value": schema.document}})
    doc = {"value": value}
    try:
        dropped = normalize(probe, doc)[1]
    except EmbeddedMetadataError:
        return False
    return dropped and bool(unknown_fields(probe, doc))
