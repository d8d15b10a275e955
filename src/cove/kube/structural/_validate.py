"""Value validation by a schema, with kube-openapi's texts and paths.

Every node is compiled once to a closure that appends errors and counts how many of its
checks were made: anyOf and oneOf tell the errors of the alternative that got furthest.

Source: ``k8s.io/kube-openapi/pkg/validation/validate`` and
``k8s.io/apiextensions-apiserver/pkg/apiserver/validation``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.structural import _formats
from cove.kube.structural._numbers import go_number, number_checks
from cove.kube.structural._patterns import PatternError, compile_pattern
from cove.kube.structural._schema import Document

__all__ = ["Check", "compile_document", "plain_error", "type_name", "validate"]

Errors = list[FieldError]
# (value, path, errors, old value where the place existed before else ABSENT) → checks made
Check = Callable[[Any, str, Errors, Any], int]

ABSENT: Any = object()
_MISSING: Any = object()


def validate(check: Check, value: Any, prefix: str = "", old: Any = ABSENT) -> Errors:
    """The errors of a value; paths below ``prefix``, texts without it as upstream has them.

    With ``old``, what has not changed is not judged again (ratcheting).
    """
    errors: Errors = []
    check(value, "", errors, old)
    if not errors or not prefix:
        return [e._replace(field=e.field.removeprefix(".")) for e in errors] if errors else errors
    return [_prefixed(e, prefix) for e in errors]


def _prefixed(error: FieldError, prefix: str) -> FieldError:
    field = error.field.removeprefix(".")
    if field in ("", NO_FIELD):
        return error._replace(field=prefix)
    return error._replace(field=f"{prefix}.{field}")


# How Go writes the path that is not there.
NO_FIELD = "<nil>"


def plain_error(text: str) -> FieldError:
    """An error that upstream does not tie to a field."""
    return FieldError("FieldValueInvalid", NO_FIELD, f'Invalid value: "": {text}')


def type_name(value: Any) -> str:
    """The JSON type of a value as schemas call it."""
    if value is None:
        return "null"
    if value.__class__ is bool:
        return "boolean"
    if value.__class__ is str:
        return "string"
    if value.__class__ is int:
        return "integer"
    if value.__class__ is float:
        return "number"
    return "array" if value.__class__ is list else "object"


def compile_document(document: Document) -> Check:
    """The check of a JSONSchemaProps document, nested value validations included."""
    return _Compiler(document).build()


class _Compiler:
    """Reads one node; ``build`` puts the checks that apply to each JSON type in upstream's order."""

    def __init__(self, document: Document) -> None:
        self.document = document
        if document.get("x-kubernetes-int-or-string"):
            self.types: tuple[str, ...] = ("integer", "string")
        else:
            self.types = (document["type"],) if document.get("type") else ()
        self.nullable = bool(document.get("nullable"))
        only = self.types[0] if len(self.types) == 1 else ""
        form = document.get("format") or ""
        self.format = form if form and _formats.is_known(form, only) else ""

    def build(self) -> Check:
        document, types, nullable = self.document, self.types, self.nullable
        expected = ",".join(types)
        junctors = _junctors(document)
        enum = _enum(document.get("enum"))
        by_type = {
            "string": self._string(),
            "integer": number_checks(document, self.types, self.format),
            "array": self._list(),
            "object": self._object(),
        }
        by_type["number"] = by_type["integer"]
        judge = _type_check(types, self.format)
        # What kube-openapi counts for a value besides what its parts count.
        extra = {"string": 1 + bool(_formats.supported(self.format)), "boolean": 0}
        has_type = bool(types or self.format)

        def check(value: Any, path: str, errors: Errors, old: Any) -> int:
            if value is None:
                if types and not nullable:
                    if old is None:
                        return 0
                    errors.append(_type_error(path, expected, "null"))
                    return 0
                if enum is not None:
                    enum(value, path, errors)
                return 1
            start = len(errors)
            kind = type_name(value)
            count = 3 + extra.get(kind, 1) + has_type
            if has_type:
                count += judge(value, kind, path, errors)
            if junctors is not None:
                count += junctors(value, path, errors, old)
            parts = by_type.get(kind)
            if parts is not None and kind != "object":
                count += parts(value, path, errors, old)
            if enum is not None:
                enum(value, path, errors)
            if parts is not None and kind == "object":
                count += parts(value, path, errors, old)
            if len(errors) > start and old is not ABSENT and old == value and same(old, value):
                del errors[start:]
            return count

        return check

    def _string(self) -> Check | None:
        document = self.document
        longest, shortest = document.get("maxLength"), document.get("minLength")
        pattern = document.get("pattern") or ""
        judge = _formats.supported(self.format) if self.format else None
        format = self.format
        if longest is None and shortest is None and not pattern and judge is None:
            return None

        def check(value: Any, path: str, errors: Errors, old: Any) -> int:
            if longest is not None and len(value) > longest:
                errors.append(fe.too_long(path, longest))
            elif shortest is not None and len(value) < shortest:
                text = f"{path} in body should be at least {shortest} chars long"
                errors.append(fe.invalid(path, value, text))
            elif pattern:
                _check_pattern(pattern, value, path, errors)
            if judge is not None and not judge(value):
                errors.append(_type_error(path, format, value))
            return 0

        return check

    def _list(self) -> Check | None:
        document = self.document
        items = document.get("items")
        inner = compile_lazily(items) if isinstance(items, Mapping) else None
        longest, shortest = document.get("maxItems"), document.get("minItems")
        unique = bool(document.get("uniqueItems"))
        keys = (
            tuple(document.get("x-kubernetes-list-map-keys") or ())
            if document.get("x-kubernetes-list-type") == "map"
            else ()
        )

        def check(value: Any, path: str, errors: Errors, old: Any) -> int:
            count = 1
            if inner is not None:
                if old is ABSENT or not keys:
                    for index, item in enumerate(value):
                        count += inner(item, f"{path}[{index}]", errors, ABSENT)
                else:
                    before = correlate(old, keys)
                    for index, item in enumerate(value):
                        was = before(item)
                        count += inner(item, f"{path}[{index}]", errors, was)
            size = len(value)
            if shortest is not None and size < shortest:
                text = f"{path} in body should have at least {shortest} items"
                errors.append(fe.invalid(path, size, text))
            if longest is not None and size > longest:
                errors.append(fe.too_many(path, size, longest))
            if unique and _has_duplicates(value):
                text = f"{path} in body shouldn't contain duplicates"
                errors.append(fe.invalid(path, "", text))
            return count

        return check

    def _object(self) -> Check | None:
        document = self.document
        properties = {
            name: compile_lazily(inner)
            for name, inner in (document.get("properties") or {}).items()
        }
        required = tuple(document.get("required") or ())
        most, least = document.get("maxProperties"), document.get("minProperties")
        additional = document.get("additionalProperties")
        inner = compile_lazily(additional) if isinstance(additional, Mapping) else None
        closed = additional is False

        def check(value: Any, path: str, errors: Errors, old: Any) -> int:
            count = 0
            size = len(value)
            dot = f"{path}." if path else ""
            before = old if old.__class__ is dict else None
            if least is not None and size < least:
                text = f"{path} in body should have at least {least} properties"
                errors.append(fe.invalid(path, size, text))
            if most is not None and size > most:
                errors.append(fe.too_many(path, size, most))
            if closed:
                for name in value:
                    if name not in properties:
                        text = f"{path}.{name} in body is a forbidden property"
                        errors.append(fe.invalid(path, name, text))
            elif inner is not None:
                for name, item in value.items():
                    if name not in properties:
                        was = ABSENT if before is None else before.get(name, ABSENT)
                        count += inner(item, f"{path}.{name}", errors, was)
            for name, item in value.items():
                step = properties.get(name)
                if step is not None:
                    was = ABSENT if before is None else before.get(name, ABSENT)
                    count += step(item, dot + name, errors, was)
            for name in required:
                if name not in value:
                    errors.append(fe.required(f"{path}.{name}"))
            return count

        return check


def compile_lazily(document: Document) -> Check:
    """The check of a node that is compiled when a value first reaches it."""
    found: list[Check] = []

    def check(value: Any, path: str, errors: Errors, old: Any) -> int:
        if not found:
            found.append(compile_document(document))
        return found[0](value, path, errors, old)

    return check


def same(a: Any, b: Any) -> bool:
    """Equality that tells true from 1, which Python does not."""
    if a.__class__ is not b.__class__:
        return a.__class__ in (int, float) and b.__class__ in (int, float) and bool(a == b)
    if a.__class__ is dict:
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if a.__class__ is list:
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def correlate(old: Any, keys: tuple[str, ...]) -> Callable[[Any], Any]:
    """Finds the old element with the keys of a new one; ABSENT without one."""
    found: dict[str, Any] = {}
    if old.__class__ is list:
        for item in old:
            if item.__class__ is dict:
                found.setdefault(_identity(item, keys), item)

    def before(item: Any) -> Any:
        if item.__class__ is not dict:
            return ABSENT
        return found.get(_identity(item, keys), ABSENT)

    return before


def _identity(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return json.dumps([item.get(key) for key in keys])


def _type_error(path: str, expected: str, value: str) -> FieldError:
    return fe.type_invalid(
        path, value, f"{path} in body must be of type {expected}: {_quote(value)}"
    )


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_NUMERIC = ("integer", "number")


def _type_check(types: tuple[str, ...], format: str) -> Callable[[Any, str, str, Errors], int]:
    expected = ",".join(types)
    numeric = "integer" in types or "number" in types

    def judge(value: Any, kind: str, path: str, errors: Errors) -> int:
        fits = (
            kind in types
            or (kind == "integer" and "number" in types)
            or (kind == "number" and "integer" in types and float(value).is_integer())
        )
        if fits:
            return 1
        if format and kind not in ("string", "array"):
            inferred = {"integer": "int64", "number": "float64"}.get(kind, "")
            if inferred != format:
                errors.append(_type_error(path, format, inferred))
                return 0
        if not numeric and format and kind in ("string", "array"):
            return 1
        errors.append(_type_error(path, expected, kind))
        return 0

    return judge


def _check_pattern(pattern: str, value: str, path: str, errors: Errors) -> None:
    try:
        if compile_pattern(pattern).search(value) is not None:
            return
        shown = pattern
    except PatternError as error:
        shown = f"{pattern}, but pattern is invalid: {error}"
    errors.append(fe.invalid(path, value, f"{path} in body should match '{shown}'"))


def _enum(values: Any) -> Callable[[Any, str, Errors], None] | None:
    if not values:
        return None
    allowed = [v if isinstance(v, str) else json.dumps(v, separators=(",", ":")) for v in values]
    simple = all(v.__class__ is str for v in values)
    known = frozenset(values) if simple else frozenset()

    def check(value: Any, path: str, errors: Errors) -> None:
        if simple:
            if value.__class__ is str and value in known:
                return
        elif any(same(value, v) for v in values):
            return
        error = fe.not_supported(path, value, allowed)
        errors.append(error)

    return check


def _has_duplicates(value: list[Any]) -> bool:
    return any(same(a, b) for i, a in enumerate(value) for b in value[:i])


def _junctors(document: Document) -> Check | None:
    any_of = [compile_lazily(d) for d in document.get("anyOf") or ()]
    one_of = [compile_lazily(d) for d in document.get("oneOf") or ()]
    all_of = [compile_lazily(d) for d in document.get("allOf") or ()]
    negated = document.get("not")
    no = compile_lazily(negated) if isinstance(negated, Mapping) else None
    if not (any_of or one_of or all_of or no):
        return None

    def check(value: Any, path: str, errors: Errors, old: Any) -> int:
        count = 1
        shown = f'"{path}"'
        if any_of:
            best: tuple[int, Errors] | None = None
            for alternative in any_of:
                found: Errors = []
                made = alternative(value, path, found, ABSENT)
                if not found:
                    best = (made, found)
                    break
                if best is None or made > best[0]:
                    best = (made, found)
            assert best is not None
            if best[1]:
                errors.append(plain_error(f"{shown} must validate at least one schema (anyOf)"))
            errors += best[1]
            count += best[0]
        if one_of:
            count += _one_of(one_of, value, path, errors)
        if all_of:
            validated = 0
            for part in all_of:
                found = []
                count += part(value, path, found, ABSENT)
                validated += not found
                errors += found
            if validated != len(all_of):
                none = "" if validated else ". None validated"
                errors.append(plain_error(f"{shown} must validate all the schemas (allOf){none}"))
        if no is not None:
            found = []
            no(value, path, found, ABSENT)
            if not found:
                errors.append(plain_error(f"{shown} must not validate the schema (not)"))
        return count

    return check


def _one_of(alternatives: list[Check], value: Any, path: str, errors: Errors) -> int:
    best: tuple[int, Errors] | None = None
    first: int | None = None
    validated = 0
    for alternative in alternatives:
        found: Errors = []
        made = alternative(value, path, found, ABSENT)
        if not found:
            validated += 1
            best = None
            first = made if first is None else first
        elif validated == 0 and (best is None or made > best[0]):
            best = (made, found)
    if validated == 1:
        return first or 0
    how = "Found none valid" if not validated else f"Found {validated} valid alternatives"
    errors.append(plain_error(f'"{path}" must validate one and only one schema (oneOf). {how}'))
    if best is None:
        return 0
    errors += best[1]
    return best[0]


__all__ += ["ABSENT", "correlate", "go_number", "same"]
