"""StorageClass and VolumeAttributesClass.

Source: https://kubernetes.io/docs/concepts/storage/storage-classes/
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import IMMUTABLE, immutable, name_errors
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.volumes import driver_name
from cove.kube.kinds._table import age

__all__ = ["StorageClass", "VolumeAttributesClass"]

Errors = list[FieldError]
_DEFAULT = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}


def _parameters(errors: Errors, parameters: Obj, path: str) -> None:
    if len(parameters) > 512:
        errors.append(fe.too_long(path, 512))
        return
    size = sum(len(k.encode()) + len(v.encode()) for k, v in parameters.items())
    for key in parameters:
        if not key:
            errors.append(fe.invalid(path, key, "field can not be empty."))
    if size > 256 * 1024:
        errors.append(fe.too_long(path, 256 * 1024))


class StorageClass(Kind):
    """A way to make volumes."""

    returns_deleted = True

    def default(self, obj: Obj) -> None:
        if obj.get("reclaimPolicy") is None:
            obj["reclaimPolicy"] = "Delete"
        if obj.get("volumeBindingMode") is None:
            obj["volumeBindingMode"] = "Immediate"

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        provisioner = obj.get("provisioner") or ""
        if not provisioner:
            errors.append(fe.required("provisioner"))
        else:
            name_errors(errors, "provisioner", provisioner.lower(), names.is_qualified_name)
        _parameters(errors, obj.get("parameters") or {}, "parameters")
        reclaim = obj.get("reclaimPolicy")
        if reclaim and reclaim not in ("Delete", "Retain"):
            errors.append(fe.not_supported("reclaimPolicy", reclaim, ("Delete", "Retain")))
        mode = obj.get("volumeBindingMode")
        if mode is None:
            errors.append(fe.required("volumeBindingMode"))
        elif mode not in ("Immediate", "WaitForFirstConsumer"):
            errors.append(
                fe.not_supported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer"))
            )
        topologies: list[Any] = []
        for i, term in enumerate(obj.get("allowedTopologies") or ()):
            path = f"allowedTopologies[{i}]"
            known: dict[str, set[str]] = {}
            for n, item in enumerate(term.get("matchLabelExpressions") or ()):
                at, key, values = (
                    f"{path}.matchLabelExpressions[{n}]",
                    item.get("key") or "",
                    item.get("values") or [],
                )
                if not values:
                    errors.append(fe.required(f"{at}.values"))
                errors += [
                    fe.duplicate(f"{at}.values[{v}]", value)
                    for v, value in enumerate(values)
                    if value in values[:v]
                ]
                name_errors(errors, f"{at}.key", key, names.is_label_key)
                if key in known:
                    errors.append(fe.duplicate(f"{at}.key", key))
                known[key] = set(values)
            if known in topologies:
                errors.append(fe.duplicate(f"{path}.matchLabelExpressions", ""))
            topologies.append(known)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        if (obj.get("parameters") or {}) != (old.get("parameters") or {}):
            errors.append(fe.forbidden("parameters", "updates to parameters are forbidden."))
        immutable(errors, "provisioner", obj.get("provisioner"), old.get("provisioner"))
        if obj.get("reclaimPolicy") != old.get("reclaimPolicy"):
            errors.append(fe.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
        immutable(
            errors, "volumeBindingMode", obj.get("volumeBindingMode"), old.get("volumeBindingMode")
        )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return [
            f"allowedTopologies[{i}].matchLabelExpressions[{n}].key: deprecated since v1.17; "
            f'use "{_LABELS[item["key"]]}" instead'
            for i, term in enumerate(obj.get("allowedTopologies") or ())
            for n, item in enumerate(term.get("matchLabelExpressions") or ())
            if item.get("key") in _LABELS
        ]

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        meta = obj["metadata"]
        annotations = meta.get("annotations") or {}
        name = meta.get("name", "")
        if any(annotations.get(key) == "true" for key in _DEFAULT):
            name += " (default)"
        return [
            name,
            obj.get("provisioner") or "",
            obj.get("reclaimPolicy") or "Delete",
            obj.get("volumeBindingMode") or "Immediate",
            bool(obj.get("allowVolumeExpansion")),
            age(obj, now),
        ]


class VolumeAttributesClass(Kind):
    """Attributes of volumes that may change while they are used."""

    returns_deleted = True

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        driver_name(errors, "driverName", obj.get("driverName") or "")
        parameters = obj.get("parameters")
        if not parameters:
            errors.append(fe.required("parameters", "must contain at least one key/value pair"))
        else:
            _parameters(errors, parameters, "parameters")
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        if obj.get("driverName") != old.get("driverName"):
            errors.append(fe.invalid("driverName", obj.get("driverName"), IMMUTABLE))
        if (obj.get("parameters") or {}) != (old.get("parameters") or {}):
            errors.append(fe.forbidden("parameters", "updates to parameters are forbidden."))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), obj.get("driverName") or "", age(obj, now)]
