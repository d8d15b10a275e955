"""Bounds of numbers as kube-openapi checks them: integers natively, the rest as floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.structural._schema import Document

__all__ = ["go_number", "number_checks"]

Errors = list[FieldError]
Check = Callable[[Any, str, Errors, Any], int]

_INT64 = 2**63
_INT32 = 2**31
_FLOAT32 = 3.4028234663852886e38


def go_number(value: int | float) -> str:
    """A number as Go's ``%v`` prints it."""
    if isinstance(value, int):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e21:
        return str(int(value))
    text = repr(float(value))
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+03d}"


def number_checks(document: Document, types: tuple[str, ...], format: str) -> Check | None:
    """The check of ranges and multiples of a node, None if there is nothing to check."""
    factor = document.get("multipleOf")
    highest, lowest = document.get("maximum"), document.get("minimum")
    below = bool(document.get("exclusiveMaximum"))
    above = bool(document.get("exclusiveMinimum"))
    only = types[0] if len(types) == 1 else ""
    kind = only if only in ("integer", "number") else ""
    bounded = factor is not None or highest is not None or lowest is not None
    if not bounded and kind != "integer" and format != "float":
        return None

    def check(value: Any, path: str, errors: Errors, old: Any) -> int:
        _range(value, kind, format, "Checked", path, errors)
        if factor is not None:
            found: Errors = []
            _range(factor, kind, format, "MultipleOf", path, found)
            errors += found
            _multiple(value, factor, path, errors, native=not found)
        if lowest is not None:
            found = []
            _range(lowest, kind, format, "Minimum boundary", path, found)
            errors += found
            bound = int(lowest) if not found and value.__class__ is int else lowest
            if value <= bound if above else value < bound:
                how = "greater than" if above else "greater than or equal to"
                text = f"{path} in body should be {how} {go_number(bound)}"
                errors.append(fe.invalid(path, value, text))
        if highest is not None:
            found = []
            _range(highest, kind, format, "Maximum boundary", path, found)
            errors += found
            bound = int(highest) if not found and value.__class__ is int else highest
            if value >= bound if below else value > bound:
                how = "less than" if below else "less than or equal to"
                text = f"{path} in body should be {how} {go_number(bound)}"
                errors.append(fe.invalid(path, value, text))
        return 1

    return check


def _range(value: Any, kind: str, format: str, what: str, path: str, errors: Errors) -> None:
    """Whether a number can be held by the type and format."""
    if kind == "integer":
        limit = _INT32 if format == "int32" else _INT64
        fits = float(value).is_integer() and -limit <= value < limit
    elif format == "float":
        fits = abs(value) <= _FLOAT32
    else:
        return
    if fits:
        return
    shown = f"format {format}" if format else "(default format)"
    how = f"with {shown}" if format else shown
    errors.append(
        FieldError(
            "FieldValueInvalid",
            "<nil>",
            f'Invalid value: "": {what} value must be of type {kind or "number"} {how} in {path}',
        )
    )


def _multiple(value: Any, factor: Any, path: str, errors: Errors, *, native: bool) -> None:
    if native and value.__class__ is int:
        by = int(factor)
        if by <= 0:
            _not_positive(path, by, errors)
        elif value % by:
            text = f"{path} in body should be a multiple of {by}"
            errors.append(fe.invalid(path, value, text))
        return
    if factor <= 0:
        _not_positive(path, factor, errors)
        return
    times = 1 / factor * value if factor < 1 else value / factor
    # kube-openapi allows for the last digits of a float.
    whole = round(times)
    if abs(times - whole) > 1e-9 * max(1.0, abs(times)):
        text = f"{path} in body should be a multiple of {go_number(factor)}"
        errors.append(fe.invalid(path, value, text))


def _not_positive(path: str, factor: Any, errors: Errors) -> None:
    text = f"factor MultipleOf declared for {path} must be positive: {go_number(factor)}"
    errors.append(fe.invalid(path, factor, text))
