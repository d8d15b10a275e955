"""What is wrong with an object's metadata.

Called by the server at every write, after names were generated and before the
kind's own validation; the causes come in upstream's order.

Source: ``k8s.io/apimachinery/pkg/api/validation/objectmeta.go``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.names import (
    is_annotation_key,
    is_dns1123_label,
    is_label_key,
    is_label_value,
    is_qualified_name,
    mask_trailing_dash,
)

__all__ = [
    "ANNOTATIONS_LIMIT",
    "validate_annotations",
    "validate_field_manager",
    "validate_finalizers",
    "validate_labels",
    "validate_managed_fields",
    "validate_object_meta",
    "validate_object_meta_update",
    "validate_owner_references",
]

# Keys and values of all annotations together, in bytes.
ANNOTATIONS_LIMIT = 256 * 1024

_STANDARD_FINALIZERS = frozenset(("kubernetes", "orphan", "foregroundDeletion"))
_IMMUTABLE = "field is immutable"

Meta = dict[str, Any]


def validate_object_meta(
    meta: Meta,
    *,
    namespaced: bool,
    name_check: Callable[[str], list[str]],
    path: str = "metadata",
    core_finalizers: bool = True,
) -> list[FieldError]:
    """The faults of a new object's metadata; empty: none.

    ``name_check`` is the kind's rule for names.  ``core_finalizers`` adds the rule of
    built-in kinds: a finalizer without a domain must be a standard one; custom
    resources do not have it.
    """
    errors: list[FieldError] = []
    generate = meta.get("generateName")
    if generate:
        masked = mask_trailing_dash(generate)
        errors += [fe.invalid(f"{path}.generateName", generate, m) for m in name_check(masked)]
    name = meta.get("name")
    if not name:
        errors.append(fe.required(f"{path}.name", "name or generateName is required"))
    else:
        faults = name_check(name)
        if faults:
            errors += [fe.invalid(f"{path}.name", name, m) for m in faults]
    namespace = meta.get("namespace")
    if namespaced:
        if not namespace:
            errors.append(fe.required(f"{path}.namespace"))
        else:
            faults = is_dns1123_label(namespace)
            if faults:
                errors += [fe.invalid(f"{path}.namespace", namespace, m) for m in faults]
    elif namespace:
        errors.append(fe.forbidden(f"{path}.namespace", "not allowed on this type"))
    generation = meta.get("generation")
    if generation and generation < 0:
        errors.append(
            fe.invalid(f"{path}.generation", generation, "must be greater than or equal to 0")
        )
    _common(meta, path, errors)
    finalizers = meta.get("finalizers")
    if finalizers:
        errors += validate_finalizers(finalizers, f"{path}.finalizers")
    if meta.get("managedFields"):
        errors += validate_managed_fields(meta["managedFields"], f"{path}.managedFields")
    if core_finalizers and finalizers:
        errors += _core_finalizers(finalizers, f"{path}.finalizers")
    return errors


def validate_object_meta_update(
    new: Meta, old: Meta, *, path: str = "metadata", core_finalizers: bool = True
) -> list[FieldError]:
    """The faults of an updated object's metadata against the stored one; empty: none.

    As often as upstream tells them: once for every update of anything, once more by the
    kind, which in the built-in ones (``core_finalizers``) looks at the metadata as a whole
    too (``validateCommonFields`` of apiserver's ``rest.BeforeUpdate``).
    """
    changes = _changes(new, old, path)
    shared: list[FieldError] = []
    _common(new, path, shared)
    managed = new.get("managedFields")
    fields = validate_managed_fields(managed, f"{path}.managedFields") if managed else []
    finalizers = new.get("finalizers")
    named = validate_finalizers(finalizers, f"{path}.finalizers") if finalizers else []
    standard = _core_finalizers(finalizers, f"{path}.finalizers") if finalizers else []
    if not core_finalizers:
        standard = []
    if not (changes or shared or fields or named or standard):
        return []
    whole = [*shared, *named, *fields]
    update = [*changes, *shared, *fields]
    once = [*whole, *update, *update]
    return [*once, *standard, *whole, *standard] if core_finalizers else once


def _changes(new: Meta, old: Meta, path: str) -> list[FieldError]:
    """What may not be written over the stored metadata."""
    errors: list[FieldError] = []
    finalizers: list[str] = new.get("finalizers") or []
    if old.get("deletionTimestamp") is not None:
        extra = sorted(set(finalizers).difference(old.get("finalizers") or ()))
        if extra:
            shown = ", ".join(fe.render(f) for f in extra)
            errors.append(
                fe.forbidden(
                    f"{path}.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{shown}}}",
                )
            )
    if not new.get("resourceVersion"):
        errors.append(fe.invalid(f"{path}.resourceVersion", "", "must be specified for an update"))
    generation, before = new.get("generation") or 0, old.get("generation") or 0
    if generation < 0:
        errors.append(
            fe.invalid(f"{path}.generation", generation, "must be greater than or equal to 0")
        )
    if generation < before:
        errors.append(fe.invalid(f"{path}.generation", generation, "must not be decremented"))
    for field, zero in _IMMUTABLE_FIELDS:
        value = new.get(field, zero)
        if value != old.get(field, zero):
            errors.append(fe.invalid(f"{path}.{field}", value, _IMMUTABLE))
    return errors


_IMMUTABLE_FIELDS: tuple[tuple[str, Any], ...] = (
    ("name", ""),
    ("namespace", ""),
    ("uid", ""),
    ("creationTimestamp", None),
    ("deletionTimestamp", None),
    ("deletionGracePeriodSeconds", None),
)


def _common(meta: Meta, path: str, errors: list[FieldError]) -> None:
    labels = meta.get("labels")
    if labels:
        errors += validate_labels(labels, f"{path}.labels")
    annotations = meta.get("annotations")
    if annotations:
        errors += validate_annotations(annotations, f"{path}.annotations")
    owners = meta.get("ownerReferences")
    if owners:
        errors += validate_owner_references(owners, f"{path}.ownerReferences")


def validate_labels(labels: dict[str, str], path: str) -> list[FieldError]:
    """The faults of a map of labels."""
    errors: list[FieldError] = []
    for key, value in labels.items():
        faults = is_label_key(key)
        if faults:
            errors += [fe.invalid(path, key, m) for m in faults]
        faults = is_label_value(value)
        if faults:
            errors += [fe.invalid(path, value, m) for m in faults]
    return errors


def validate_annotations(annotations: dict[str, str], path: str) -> list[FieldError]:
    """The faults of a map of annotations, its total size included."""
    errors: list[FieldError] = []
    total = 0
    for key, value in annotations.items():
        faults = is_annotation_key(key)
        if faults:
            errors += [fe.invalid(path, key, m) for m in faults]
        total += len(key) + len(value) if value.isascii() else len(key) + len(value.encode())
    if total > ANNOTATIONS_LIMIT:
        errors.append(fe.too_long(path, ANNOTATIONS_LIMIT))
    return errors


def _owner_document(owner: Meta) -> Meta:
    """An owner reference as Go writes it: four fields always, two when they are there."""
    doc = {k: owner.get(k, "") for k in ("apiVersion", "kind", "name", "uid")}
    for k in ("controller", "blockOwnerDeletion"):
        if owner.get(k) is not None:
            doc[k] = owner[k]
    return doc


def validate_owner_references(owners: list[Meta], path: str) -> list[FieldError]:
    """The faults of a list of owner references; one controller at most."""
    errors: list[FieldError] = []
    controller = ""
    for i, owner in enumerate(owners):
        at = f"{path}[{i}]"
        version = owner.get("apiVersion") or ""
        if not version:
            errors.append(fe.required(f"{at}.apiVersion", "must not be empty"))
        elif version.count("/") > 1 or not version.split("/")[-1]:
            errors.append(
                fe.invalid(f"{at}.apiVersion", version, "must be <group>/<version> or <version>")
            )
        errors += [
            fe.required(f"{at}.{field}", "must not be empty")
            for field in ("kind", "name", "uid")
            if not owner.get(field)
        ]
        kind = owner.get("kind") or ""
        if version == "v1" and kind == "Event":
            errors.append(
                fe.invalid(
                    at, _owner_document(owner), "/v1, Kind=Event is disallowed from being an owner"
                )
            )
        if owner.get("controller"):
            current = f"{kind}/{owner.get('name') or ''}"
            if controller:
                errors.append(
                    fe.invalid(
                        path,
                        [_owner_document(o) for o in owners],
                        "Only one reference can have Controller set to true. "
                        f'Found "true" in references for {controller} and {current}',
                    )
                )
            else:
                controller = current
    return errors


def validate_finalizers(finalizers: list[str], path: str) -> list[FieldError]:
    """The faults of a list of finalizers: qualified names, orphan or foreground but not both."""
    errors = [fe.invalid(path, f, m) for f in finalizers for m in is_qualified_name(f)]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        errors.append(
            fe.invalid(
                path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"
            )
        )
    return errors


def _core_finalizers(finalizers: list[str], path: str) -> list[FieldError]:
    return [
        fe.invalid(
            f"{path}[{i}]",
            f,
            "name is neither a standard finalizer name nor is it fully qualified",
        )
        for i, f in enumerate(finalizers)
        if "/" not in f and f not in _STANDARD_FINALIZERS
    ]


def validate_field_manager(manager: str, path: str) -> list[FieldError]:
    """The faults of a field manager's name: up to 128 bytes, printable."""
    errors: list[FieldError] = []
    if manager.isascii() and manager.isprintable() and len(manager) <= 128:
        return errors
    if len(manager.encode()) > 128:
        errors.append(fe.too_long(path, 128))
    position = 0
    for rune in manager:
        if not rune.isprintable():
            errors.append(
                fe.invalid(
                    path, manager, f"invalid character U+{ord(rune):04X} (at position {position})"
                )
            )
        position += len(rune.encode())
    return errors


def validate_managed_fields(entries: list[Meta], path: str) -> list[FieldError]:
    """The faults of managedFields entries: operation, fieldsType, manager, subresource."""
    errors: list[FieldError] = []
    for i, entry in enumerate(entries):
        operation = entry.get("operation") or ""
        if not operation:
            errors.append(fe.required(f"{path}[{i}].operation", "must not be empty"))
        elif operation not in ("Apply", "Update"):
            errors.append(
                fe.not_supported(f"{path}[{i}].operation", operation, ("Apply", "Update"))
            )
        kind = entry.get("fieldsType") or ""
        if kind and kind != "FieldsV1":
            errors.append(fe.invalid(f"{path}[{i}].fieldsType", kind, "must be `FieldsV1`"))
        manager = entry.get("manager") or ""
        if manager:
            errors += validate_field_manager(manager, f"{path}[{i}].manager")
        if len(entry.get("subresource") or "") > 256:
            errors.append(fe.too_long(f"{path}[{i}].subresource", 256))
    return errors
