"""VolumeAttachment."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, name_errors
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.volumes import driver_name
from cove.kube.kinds._table import age
from cove.kube.kinds.core.persistentvolume import validate_volume_spec

__all__ = ["VolumeAttachment"]


class VolumeAttachment(Kind):
    """A volume that shall be attached to a node."""

    status = True
    empty_status = MappingProxyType({"attached": False})
    allow_unconditional_update = False
    returns_deleted = True

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        driver_name(errors, "spec.attacher", spec.get("attacher") or "")
        source = spec.get("source") or {}
        inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
        path = "spec.source"
        text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        if inline is None and volume is None:
            errors.append(fe.required(path, text))
        elif inline is not None and volume is not None:
            errors.append(fe.forbidden(path, text))
        elif volume is not None:
            if not volume:
                errors.append(
                    fe.required(
                        f"{path}.persistentVolumeName",
                        "must specify non empty persistentVolumeName",
                    )
                )
        else:
            validate_volume_spec(errors, f"{path}.inlineVolumeSpec", inline or {}, inline=True)
        name_errors(errors, "spec.nodeName", spec.get("nodeName") or "", names.is_dns1123_subdomain)
        _status(errors, obj)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        immutable(errors, "spec", obj.get("spec"), old.get("spec"), "storage.VolumeAttachmentSpec")
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_update(obj, old)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("attacher") or "",
            (spec.get("source") or {}).get("persistentVolumeName") or "",
            spec.get("nodeName") or "",
            bool(status.get("attached")),
            age(obj, now),
        ]


def _status(errors: list[FieldError], obj: Obj) -> None:
    status = obj.get("status") or {}
    metadata = status.get("attachmentMetadata") or {}
    size = sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items())
    if size > 256 * 1024:
        errors.append(fe.too_long("status.attachmentMetadata", 256 * 1024))
    for key in ("attachError", "detachError"):
        message = (status.get(key) or {}).get("message") or ""
        if len(message.encode()) > 1024:
            errors.append(fe.too_long(f"status.{key}.message", 1024))
