"""PersistentVolumeClaim.  Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, name_errors, selector
from cove.kube.kinds._gojson import diff
from cove.kube.kinds._kind import Kind, Obj, keep
from cove.kube.kinds._podspec.defaults import default_claim_spec
from cove.kube.kinds._podspec.resources import quantity_value
from cove.kube.kinds._table import age
from cove.kube.quantity import parse

__all__ = [
    "PersistentVolumeClaim",
    "access_mode_cells",
    "access_modes",
    "claim_warnings",
    "validate_claim_spec",
]

Errors = list[FieldError]
MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_CLASS = "volume.beta.kubernetes.io/storage-class"
_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def access_modes(errors: Errors, path: str, modes: list[str]) -> None:
    """Modes that are known, and ReadWriteOncePod alone."""
    for mode in modes:
        if mode not in MODES:
            errors.append(fe.not_supported(path, mode, MODES))
    if "ReadWriteOncePod" in modes and any(m in MODES and m != "ReadWriteOncePod" for m in modes):
        errors.append(fe.forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def access_mode_cells(modes: list[str] | None) -> str:
    """``RWO,ROX``."""
    return ",".join(_SHORT[m] for m in _SHORT if m in (modes or ()))


def class_of(obj: Obj) -> str:
    """The storage class, by annotation or field."""
    annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS)
    if annotation is not None:
        return str(annotation)
    return (obj.get("spec") or {}).get("storageClassName") or ""


def _source(errors: Errors, path: str, source: Obj) -> None:
    for key in ("name", "kind"):
        if not source.get(key):
            errors.append(fe.required(f"{path}.{key}"))
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        errors.append(
            fe.invalid(
                path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            )
        )
    if group:
        name_errors(errors, f"{path}.apiGroup", group, names.is_dns1123_subdomain)
    if source.get("namespace"):
        name_errors(errors, f"{path}.namespace", source["namespace"], names.is_dns1123_label)


def validate_claim_spec(errors: Errors, path: str, spec: Obj) -> None:
    """The spec of a claim, also in templates."""
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(fe.required(f"{path}.accessModes", "at least 1 access mode is required"))
    selector(errors, f"{path}.selector", spec.get("selector"))
    access_modes(errors, f"{path}.accessModes", modes)
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    at = f"{path}.resources[storage]"
    if size is None:
        errors.append(fe.required(at))
    elif parse(size).nanos <= 0:
        errors.append(fe.invalid(at, size, "must be greater than zero"))
    else:
        quantity_value(errors, at, "storage", size)
    if spec.get("storageClassName"):
        name_errors(
            errors, f"{path}.storageClassName", spec["storageClassName"], names.is_dns1123_subdomain
        )
    mode = spec.get("volumeMode")
    if mode is not None and mode not in ("Block", "Filesystem"):
        errors.append(fe.not_supported(f"{path}.volumeMode", mode, ("Block", "Filesystem")))
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None:
        _source(errors, f"{path}.dataSource", source)
    if reference is not None:
        _source(errors, f"{path}.dataSourceRef", reference)
    if source is not None and reference is not None:
        if reference.get("namespace"):
            text = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(fe.invalid(path, {}, text))
        elif any(source.get(k) != reference.get(k) for k in ("apiGroup", "kind", "name")):
            errors.append(fe.invalid(path, {}, "must match dataSourceRef"))
    if spec.get("volumeAttributesClassName"):
        name_errors(
            errors,
            f"{path}.volumeAttributesClassName",
            spec["volumeAttributesClassName"],
            names.is_dns1123_subdomain,
        )


def claim_warnings(path: str, spec: Obj) -> list[str]:
    """Sizes in fractions of a byte."""
    resources = spec.get("resources") or {}
    out: list[str] = []
    for key in ("requests", "limits"):
        amount = (resources.get(key) or {}).get("storage")
        if amount is not None and parse(amount).milli % 1000:
            out.append(
                f'{path}.resources.{key}[storage]: fractional byte value "{amount}" is invalid, '
                "must be an integer"
            )
    return out


class PersistentVolumeClaim(Kind):
    """A wish for a volume."""

    status = True
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_claim_spec(spec)
        _normalize_sources(spec)
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending"}
        _normalize_sources(obj["spec"])

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        _normalize_sources(obj["spec"])

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        validate_claim_spec(errors, "spec", obj.get("spec") or {})
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        new, before = dict(obj["spec"]), dict(old["spec"])
        bound = (obj.get("status") or {}).get("phase") == "Bound"
        if not before.get("volumeName"):
            keep(before, new, "volumeName")
        annotations = obj["metadata"].get("annotations") or {}
        old_annotations = old["metadata"].get("annotations") or {}
        old_class, new_class = before.get("storageClassName"), new.get("storageClassName")
        upgraded = (
            _CLASS in old_annotations
            and old_class is None
            and new_class == old_annotations[_CLASS]
            and annotations.get(_CLASS, new_class) == new_class
        )
        if upgraded:
            new.pop("storageClassName")
        else:
            immutable(
                errors,
                f"metadata.annotations.{_CLASS}",
                annotations.get(_CLASS, ""),
                old_annotations.get(_CLASS, ""),
            )
            if (
                new_class is not None
                and old_class is None
                and old_annotations.get(_CLASS, new_class) == new_class
            ):
                new.pop("storageClassName")
        requests = (new.get("resources") or {}).get("requests")
        old_requests = (before.get("resources") or {}).get("requests") or {}
        if bound and requests is not None:
            new["resources"] = {
                **new["resources"],
                "requests": {**requests, "storage": old_requests.get("storage", "0")},
            }
        if bound:
            keep(new, before, "volumeAttributesClassName")
        if new != before:
            shown = diff("core.PersistentVolumeClaimSpec", before, new)
            errors.append(
                fe.forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and "
                    f"volumeAttributesClassName for bound claims\n{shown}",
                )
            )
        size = parse((requests or {}).get("storage") or "0")
        if size < parse(old_requests.get("storage") or "0"):
            capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage") or "0"
            if size <= parse(capacity):
                errors.append(
                    fe.forbidden(
                        "spec.resources.requests.storage",
                        "field can not be less than status.capacity",
                    )
                )
        immutable(
            errors, "volumeMode", obj["spec"].get("volumeMode"), old["spec"].get("volumeMode")
        )
        attributes = obj["spec"].get("volumeAttributesClassName")
        if attributes != old["spec"].get("volumeAttributesClassName"):
            if (old.get("status") or {}).get("currentVolumeAttributesClassName") is not None:
                if not attributes:
                    what = "nil" if attributes is None else "empty string"
                    errors.append(
                        fe.forbidden(
                            "spec.volumeAttributesClassName",
                            f"update to {what} is forbidden when "
                            "status.currentVolumeAttributesClassName is not nil",
                        )
                    )
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        status = obj.get("status") or {}
        for name, amount in sorted((status.get("capacity") or {}).items()):
            if parse(amount).value < 0:
                errors.append(
                    fe.invalid(
                        f"status.capacity[{name}]",
                        parse(amount).value,
                        "must be a valid resource quantity",
                    )
                )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        if _CLASS in (obj["metadata"].get("annotations") or ()):
            out.append(
                f'metadata.annotations[{_CLASS}]: deprecated since v1.8; use "storageClassName" '
                "attribute instead"
            )
        return out + claim_warnings("spec", obj.get("spec") or {})

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
        bound = spec.get("volumeName")
        return [
            meta.get("name", ""),
            "Terminating" if meta.get("deletionTimestamp") else status.get("phase") or "",
            bound or "",
            (status.get("capacity") or {}).get("storage", "0") if bound else "",
            access_mode_cells(status.get("accessModes")) if bound else "",
            class_of(obj),
            _or_unset(spec, "volumeAttributesClassName"),
            age(obj, now),
            _or_unset(spec, "volumeMode"),
        ]


def _or_unset(spec: Obj, key: str) -> str:
    value = spec.get(key)
    return "<unset>" if value is None else str(value)


def _normalize_sources(spec: Obj) -> None:
    """dataSource and dataSourceRef say the same where both can."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        group, kind = reference.get("apiGroup") or "", reference.get("kind")
        if (group, kind) in (
            ("", "PersistentVolumeClaim"),
            ("snapshot.storage.k8s.io", "VolumeSnapshot"),
        ):
            spec["dataSource"] = {k: v for k, v in reference.items() if k != "namespace"}
