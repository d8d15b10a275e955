"""Structural schemas of custom resources: what they keep, fill in and allow.

    schema = parse(openAPIV3Schema)
    obj, dropped = normalize(schema, obj)      # prune, default
    errors = validate_value(schema, obj)       # types, bounds, patterns, junctors
    errors += validate_embedded(schema, obj) + validate_lists(schema, obj)

Pure functions; what they compile is kept on the :class:`Schema`.
"""

from __future__ import annotations

from typing import Any

from cove.kube.field_errors import FieldError
from cove.kube.structural._embedded import validate_embedded
from cove.kube.structural._fields import FieldPathError, find_field
from cove.kube.structural._formats import is_known as is_known_format
from cove.kube.structural._lists import validate_lists
from cove.kube.structural._node import to_node
from cove.kube.structural._normal import EmbeddedMetadataError, normalize, unknown_fields
from cove.kube.structural._patterns import PatternError, compile_pattern
from cove.kube.structural._schema import Schema, parse
from cove.kube.structural._structure import validate_structural
from cove.kube.structural._validate import (
    ABSENT,
    Check,
    compile_document,
    correlate,
    same,
    validate,
)

__all__ = [
    "ABSENT",
    "EmbeddedMetadataError",
    "FieldPathError",
    "PatternError",
    "Schema",
    "compile_pattern",
    "correlate",
    "find_field",
    "is_known_format",
    "normalize",
    "parse",
    "same",
    "to_node",
    "unknown_fields",
    "validate_embedded",
    "validate_lists",
    "validate_structural",
    "validate_value",
]


def validate_value(
    schema: Schema, value: Any, prefix: str = "", old: Any = ABSENT
) -> list[FieldError]:
    """The errors of a value by its schema; paths start at ``prefix``.

    With ``old``, the value before an update, errors of what has not changed are passed
    over (KEP-4008): list elements are told apart by the keys of a map list.
    """
    check: Check | None = schema.cache.get("validate")
    if check is None:
        check = schema.cache["validate"] = compile_document(schema.document)
    return validate(check, value, prefix, old)
