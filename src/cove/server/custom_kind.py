"""What the server does for one version of a custom resource: strategy, validation, table.

Source: ``pkg/registry/customresource`` of apiextensions-apiserver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import jsonpath
from cove.kube import status as st
from cove.kube.cel import rules
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Column, Kind, Obj
from cove.kube.kinds._table import columns as builtin_columns
from cove.kube.names import is_qualified_name
from cove.kube.structural import (
    ABSENT,
    Schema,
    same,
    validate_embedded,
    validate_lists,
    validate_value,
)
from cove.kube.times import TimeError, human_duration, parse_time

__all__ = ["CustomKind", "at", "split_path"]

Document = Mapping[str, Any]
INT32 = 2**31 - 1
_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_UNCHECKED = FieldError(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_STANDARD_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")


def split_path(path: str) -> tuple[str, ...]:
    """``.spec.replicas`` → ("spec", "replicas")."""
    return tuple(path.removeprefix(".").split("."))


def at(obj: Any, path: tuple[str, ...]) -> Any:
    """The value at a path, None without one."""
    for part in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


class CustomKind(Kind):
    """The strategy of one version of a CRD."""

    generation = True
    allow_unconditional_update = False

    def __init__(
        self,
        group: str,
        kind: str,
        plural: str,
        version: Document,
        schema: Schema,
        *,
        terminating: bool,
    ) -> None:
        self.group = group
        self.kind = kind
        self._plural = plural
        self._schema = schema
        self._terminating = terminating
        subresources = version.get("subresources") or {}
        self.status = subresources.get("status") is not None
        self.scale: Document | None = subresources.get("scale")
        self._columns = _Columns(version.get("additionalPrinterColumns"))
        self.selectable = {
            path.removeprefix("."): _selector(path)
            for field in version.get("selectableFields") or ()
            if (path := field.get("jsonPath"))
        }

    @property
    def columns(self) -> Sequence[Column]:
        return self._columns.columns

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return self._columns.row(obj, now)

    def unknown_field_label(self, label: str) -> str:
        return f"field label not supported: {label}"

    # -- strategy

    def prepare_create(self, obj: Obj) -> None:
        if self._terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise st.forbidden(self._plural, self.group, obj["metadata"].get("name", ""), why)
        super().prepare_create(obj)

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        return any(
            not same(obj.get(key, ABSENT), old.get(key, ABSENT))
            for key in obj.keys() | old.keys()
            if key not in ("metadata", "apiVersion", "kind")
        )

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        given = obj["metadata"]
        meta = dict(old["metadata"])
        for key in ("managedFields", "resourceVersion"):
            if key in given:
                meta[key] = given[key]
            else:
                meta.pop(key, None)
        obj["metadata"] = meta

    def reset_fields(self, subresource: str) -> Sequence[str]:
        if not self.status:
            return ()
        return ("metadata", "spec") if subresource == "status" else ("status",)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        before = set(old["metadata"].get("finalizers", ())) if old is not None else set()
        found = sorted(set(obj["metadata"].get("finalizers", ())) - before)
        return [text for name in found for text in _finalizer_warnings(name)]

    # -- validation

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors = validate_value(self._schema, obj)
        errors += self._scale_spec(obj) + self._scale_status(obj)
        errors += validate_embedded(self._schema, obj)
        errors += validate_lists(self._schema, obj)
        return self._with_rules(errors, obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = validate_value(self._schema, obj, "", old)
        errors += self._scale_spec(obj) + self._scale_status(obj)
        errors += validate_embedded(self._schema, obj)
        found = validate_lists(self._schema, obj)
        if found and not validate_lists(self._schema, old):
            errors += found
        return self._with_rules(errors, obj, old)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        schema = self._schema.properties.get("status")
        if schema is not None and "status" in obj:
            errors += validate_value(schema, obj["status"], "status", old.get("status", ABSENT))
        errors += self._scale_status(obj)
        found = validate_lists(self._schema, obj)
        if found and not validate_lists(self._schema, old):
            errors += found
        return self._with_rules(errors, obj, old)

    def _with_rules(self, errors: list[FieldError], obj: Obj, old: Obj | None) -> list[FieldError]:
        checked = rules(self._schema, root=True)
        if checked is None:
            return errors
        if any(e.reason in _BLOCKING for e in errors):
            return [*errors, _UNCHECKED]
        return errors + checked.validate(obj, old, ratchet=old is not None)

    def _scale_spec(self, obj: Obj) -> list[FieldError]:
        if self.scale is None:
            return []
        return _replicas(obj, self.scale["specReplicasPath"])

    def _scale_status(self, obj: Obj) -> list[FieldError]:
        if self.scale is None:
            return []
        errors = _replicas(obj, self.scale["statusReplicasPath"])
        path = self.scale.get("labelSelectorPath")
        if path:
            value = at(obj, split_path(path))
            if value is not None and not isinstance(value, str):
                why = _accessor(path, value, "string")
                errors.append(fe.invalid(path, "", why))
        return errors


_GO_TYPES = {bool: "bool", int: "int64", float: "float64", str: "string", list: "[]interface {}"}


def _accessor(path: str, value: Any, wanted: str) -> str:
    kind = _GO_TYPES.get(type(value), "map[string]interface {}")
    shown = jsonpath.text(value)
    return f"{path} accessor error: {shown} is of the type {kind}, expected {wanted}"


def _replicas(obj: Obj, path: str) -> list[FieldError]:
    value = at(obj, split_path(path))
    if value is None:
        return []
    if value.__class__ is not int:
        return [fe.invalid(path, 0, _accessor(path, value, "int64"))]
    if value < 0:
        return [fe.invalid(path, value, "should be a non-negative integer")]
    if value > INT32:
        return [fe.invalid(path, value, f"should be less than or equal to {INT32}")]
    return []


def _finalizer_warnings(name: str) -> list[str]:
    path = f'metadata.finalizers: "{name}": '
    out = [path + fault for fault in is_qualified_name(name)]
    if "/" not in name and name not in _STANDARD_FINALIZERS:
        kind = "including a path (/) " if "." in name else ""
        out.append(
            f"{path}prefer a domain-qualified finalizer name {kind}to avoid accidental conflicts "
            "with other finalizer writers"
        )
    return out


def _selector(path: str) -> Callable[[Obj], str]:
    find = jsonpath.compile_path(path)

    def value(obj: Obj) -> str:
        found = find(obj)
        return jsonpath.text(found[0]) if found and found[0] is not None else ""

    return value


class _Columns:
    """The printer columns of a version: Name, then its own, or Age."""

    def __init__(self, documents: Sequence[Document] | None) -> None:
        name, created = builtin_columns("", "*")
        columns = [name]
        self._find: list[tuple[str, Callable[[Any], list[Any]]]] = []
        if not documents:
            documents = (
                {
                    "name": "Age",
                    "type": "date",
                    "description": created.description,
                    "jsonPath": ".metadata.creationTimestamp",
                },
            )
        for doc in documents:
            path = doc.get("jsonPath") or ""
            try:
                find = jsonpath.compile_path(path)
            except jsonpath.JSONPathError:
                # Upstream shows the columns before the first that it cannot read.
                break
            default = f"Custom resource definition column (in JSONPath format): {path}"
            columns.append(
                Column(
                    doc.get("name", ""),
                    doc.get("type", ""),
                    doc.get("format", ""),
                    doc.get("description") or default,
                    doc.get("priority", 0),
                )
            )
            self._find.append((doc.get("type", ""), find))
        self.columns = tuple(columns)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        cells: list[Any] = [obj["metadata"].get("name", "")]
        for kind, find in self._find:
            found = find(obj)
            cells.append(_cell(kind, found[0], now) if found else None)
        return cells


def _cell(kind: str, value: Any, now: datetime) -> Any:
    if kind == "string":
        return jsonpath.text(value)
    if value is None:
        return None
    number = value.__class__ is int or value.__class__ is float
    if kind == "integer":
        return int(value) if number else None
    if kind == "number":
        return float(value) if number else None
    if kind == "boolean":
        return value if value.__class__ is bool else None
    if kind == "date" and isinstance(value, str):
        try:
            return human_duration((now - parse_time(value)).total_seconds())
        except TimeError:
            return "<invalid>"
    return None
