"""What is wrong with one field of an object, in Kubernetes' words.

The builders give the texts of ``k8s.io/apimachinery/pkg/util/validation/field``:
``Invalid value: "x": must be …``, ``Required value``, ``Unsupported value: …``.
Paths are plain strings: ``spec.containers[0].name``, ``metadata.labels``,
``spec.data[key]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = [
    "FieldError",
    "duplicate",
    "forbidden",
    "internal",
    "invalid",
    "not_found",
    "not_supported",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
]


class FieldError(NamedTuple):
    """One cause: a reason (``FieldValueInvalid`` …), the field's path, and the text after it."""

    reason: str
    field: str
    text: str


def _quote(text: str) -> str:
    """Go's %q, near enough: JSON's escapes without \\u for printable characters."""
    return json.dumps(text, ensure_ascii=False)


def render(value: Any) -> str:
    """A value as ``field.Error`` prints it: strings quoted, null, numbers, JSON for the rest."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return json.dumps(value)
    return json.dumps(value, separators=(",", ":"), sort_keys=False, ensure_ascii=False)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value is there and wrong."""
    shown = f"Invalid value: {render(value)}"
    return FieldError("FieldValueInvalid", field, f"{shown}: {detail}" if detail else shown)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value has the wrong JSON type (custom resources)."""
    shown = f"Invalid value: {render(value)}"
    return FieldError("FieldValueTypeInvalid", field, f"{shown}: {detail}" if detail else shown)


def required(field: str, detail: str = "") -> FieldError:
    """The value is missing."""
    text = "Required value"
    return FieldError("FieldValueRequired", field, f"{text}: {detail}" if detail else text)


def duplicate(field: str, value: Any) -> FieldError:
    """The value may appear only once."""
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {render(value)}")


def not_found(field: str, value: Any) -> FieldError:
    """The value names something that is not there."""
    return FieldError("FieldValueNotFound", field, f"Not found: {render(value)}")


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is not one of an enumeration; ``supported`` is told in its order, a set sorted."""
    text = f"Unsupported value: {render(value)}"
    if isinstance(supported, (set, frozenset)):
        supported = sorted(supported)
    names = [_quote(s) for s in supported]
    if names:
        text += ": supported values: " + ", ".join(names)
    return FieldError("FieldValueNotSupported", field, text)


def forbidden(field: str, detail: str) -> FieldError:
    """The field may not be set, or not be changed."""
    return FieldError(
        "FieldValueForbidden", field, f"Forbidden: {detail}" if detail else "Forbidden"
    )


def too_long(field: str, limit: int) -> FieldError:
    """A string or an encoded object above ``limit`` bytes; 0 or less tells no limit."""
    text = "Too long"
    return FieldError(
        "FieldValueTooLong",
        field,
        f"{text}: may not be more than {limit} bytes" if limit > 0 else text,
    )


def too_many(field: str, actual: int, limit: int) -> FieldError:
    """A list of ``actual`` elements where ``limit`` are allowed."""
    unit = "item" if limit == 1 else "items"
    return FieldError(
        "FieldValueTooMany", field, f"Too many: {actual}: must have at most {limit} {unit}"
    )


def internal(field: str, detail: str) -> FieldError:
    """The server itself failed to judge the field."""
    return FieldError("InternalError", field, f"Internal error: {detail}")
