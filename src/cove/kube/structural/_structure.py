"""Whether a schema is structural, and what of it is not (``pkg/apiserver/schema``).

Works on documents rather than on :class:`Schema`: what it looks for is what a Schema
does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.structural._patterns import PatternError, compile_pattern
from cove.kube.structural._schema import Document

__all__ = ["validate_structural"]

Errors = list[FieldError]
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_NOT_EMPTY = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def validate_structural(document: Document, path: str) -> Errors:
    """The faults of a schema that is to be structural, sorted as upstream sorts them."""
    errors: Errors = []
    _invariants(document, "root", path, errors)
    _completeness(document, document, path, path, errors)
    errors.sort(key=lambda e: f"{e.field}: {e.text}")
    return errors


def _items(document: Document) -> Document | None:
    items = document.get("items")
    return items if isinstance(items, Mapping) else None


def _invariants(document: Document, level: str, path: str, errors: Errors) -> None:
    kind = document.get("type") or ""
    embedded = bool(document.get("x-kubernetes-embedded-resource"))
    preserve = bool(document.get("x-kubernetes-preserve-unknown-fields"))
    int_or_string = bool(document.get("x-kubernetes-int-or-string"))
    properties: Mapping[str, Document] = document.get("properties") or {}
    additional = document.get("additionalProperties")
    items = _items(document)
    if kind == "array" and items is None:
        errors.append(fe.required(f"{path}.items", "must be specified"))
    if items is not None:
        _invariants(items, "item", f"{path}.items", errors)
    for name, inner in properties.items():
        _invariants(inner, "field", f"{path}.properties[{name}]", errors)
    if additional is not None:
        if level == "root":
            errors.append(
                fe.forbidden(f"{path}.additionalProperties", "must not be used at the root")
            )
        if isinstance(additional, Mapping):
            _invariants(additional, "field", f"{path}.additionalProperties", errors)
    if int_or_string and preserve:
        why = "must be false if x-kubernetes-int-or-string is true"
        errors.append(fe.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", True, why))
    if int_or_string and embedded:
        why = "must be false if x-kubernetes-int-or-string is true"
        errors.append(fe.invalid(f"{path}.x-kubernetes-embedded-resource", True, why))
    _values(
        document,
        path,
        errors,
        skip_any_of=_bare(document.get("anyOf")) == _INT_OR_STRING,
        skip_first=_first_is_int_or_string(document),
    )
    if embedded and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        errors.append(
            fe.invalid(f"{path}.type", kind, why) if kind else fe.required(f"{path}.type", why)
        )
    elif not kind and not int_or_string and not preserve:
        errors.append(fe.required(f"{path}.type", _NOT_EMPTY[level]))
    if embedded and additional is not None:
        why = "must not be used if x-kubernetes-embedded-resource is set"
        errors.append(fe.forbidden(f"{path}.additionalProperties", why))
    if level == "root" and kind and kind != "object":
        errors.append(fe.invalid(f"{path}.type", kind, "must be object at the root"))
    _type_meta(document, level, path, errors)
    if embedded and not preserve and not properties:
        why = (
            "must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields"
        )
        errors.append(fe.required(f"{path}.properties", why))


def _type_meta(document: Document, level: str, path: str, errors: Errors) -> None:
    properties: Mapping[str, Document] = document.get("properties") or {}
    checks = level == "root" or bool(document.get("x-kubernetes-embedded-resource"))
    for name in ("kind", "apiVersion"):
        inner = properties.get(name)
        if checks and inner is not None and inner.get("type") != "string":
            place = f"{path}.properties[{name}].type"
            errors.append(fe.invalid(place, inner.get("type") or "", "must be string"))
    meta = properties.get("metadata")
    if meta is None:
        return
    place = f"{path}.properties[metadata]"
    if checks and meta.get("type") != "object":
        errors.append(fe.invalid(f"{place}.type", meta.get("type") or "", "must be object"))
    if level == "root":
        known = set(meta.get("properties") or ())
        allowed = not known or known <= {"name", "generateName"}
        rest = {k for k, v in meta.items() if k not in ("type", "properties", "default") and v}
        if not allowed or rest:
            errors.append(
                fe.forbidden(
                    place,
                    "must not specify anything other than name and generateName, but metadata is "
                    "implicitly specified",
                )
            )


def _bare(schemas: Any) -> list[Any]:
    return [dict(s) for s in schemas or ()]


def _first_is_int_or_string(document: Document) -> bool:
    all_of = document.get("allOf") or []
    return bool(all_of) and _bare(all_of[0].get("anyOf")) == _INT_OR_STRING


def _values(
    document: Document,
    path: str,
    errors: Errors,
    *,
    skip_any_of: bool = False,
    skip_first: bool = False,
) -> None:
    """The rules of value validation: what stands in anyOf, allOf, oneOf and not."""
    if not skip_any_of:
        for index, inner in enumerate(document.get("anyOf") or ()):
            _nested(inner, f"{path}.anyOf[{index}]", errors)
    for index, inner in enumerate(document.get("allOf") or ()):
        _nested(inner, f"{path}.allOf[{index}]", errors, skip_any_of=skip_first and index == 0)
    for index, inner in enumerate(document.get("oneOf") or ()):
        _nested(inner, f"{path}.oneOf[{index}]", errors)
    negated = document.get("not")
    if isinstance(negated, Mapping):
        _nested(negated, f"{path}.not", errors)
    pattern = document.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except PatternError as error:
            why = f"must be a valid regular expression, but isn't: {error}"
            errors.append(fe.invalid(f"{path}.pattern", pattern, why))


_EMPTY = "must be empty to be structural"
_UNDEFINED = "must be undefined to be structural"
_FALSE = "must be false to be structural"
_FORBIDDEN = (
    ("type", _EMPTY),
    ("additionalProperties", _UNDEFINED),
    ("default", _UNDEFINED),
    ("title", _EMPTY),
    ("description", _EMPTY),
    ("nullable", _FALSE),
    ("x-kubernetes-preserve-unknown-fields", _FALSE),
    ("x-kubernetes-embedded-resource", _FALSE),
    ("x-kubernetes-int-or-string", _FALSE),
    ("x-kubernetes-list-map-keys", _EMPTY),
    ("x-kubernetes-list-type", _UNDEFINED),
    ("x-kubernetes-map-type", _UNDEFINED),
    ("x-kubernetes-validations", _EMPTY),
)


def _nested(document: Document, path: str, errors: Errors, *, skip_any_of: bool = False) -> None:
    _values(document, path, errors, skip_any_of=skip_any_of)
    items = _items(document)
    if items is not None:
        _nested(items, f"{path}.items", errors)
    properties: Mapping[str, Document] = document.get("properties") or {}
    for name, inner in properties.items():
        _nested(inner, f"{path}.properties[{name}]", errors)
    for key, why in _FORBIDDEN:
        value = document.get(key)
        if (
            value
            or (key == "additionalProperties" and value is not None)
            or (key == "default" and value is not None)
        ):
            errors.append(fe.forbidden(f"{path}.{key}", why))
    if "metadata" in properties:
        why = "must not be specified in a nested context"
        errors.append(fe.forbidden(f"{path}.properties[metadata]", why))


def _completeness(
    nested: Document, schema: Document | None, path: str, where: str, errors: Errors
) -> None:
    """Every place that value validations speak of must be specified outside of them."""
    negated = nested.get("not")
    if isinstance(negated, Mapping):
        _complete(negated, schema, path, f"{where}.not", errors)
    for key in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(nested.get(key) or ()):
            _complete(inner, schema, path, f"{where}.{key}[{index}]", errors)


def _complete(
    nested: Document, schema: Document | None, path: str, where: str, errors: Errors
) -> None:
    if schema is None:
        errors.append(fe.required(path, f"because it is defined in {where}"))
        return
    _completeness(nested, schema, path, where, errors)
    items = _items(nested)
    if items is not None:
        _complete(items, _items(schema), f"{path}.items", f"{where}.items", errors)
    known: Mapping[str, Document] = schema.get("properties") or {}
    for name, inner in (nested.get("properties") or {}).items():
        place, at = f"{path}.properties[{name}]", f"{where}.properties[{name}]"
        if name in known:
            _complete(inner, known[name], place, at, errors)
        else:
            errors.append(fe.required(place, f"because it is defined in {at}"))
