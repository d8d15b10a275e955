"""PersistentVolume.  Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, name_errors
from cove.kube.kinds._clock import now_text
from cove.kube.kinds._gojson import diff, internal
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec import volumes
from cove.kube.kinds._podspec.affinity import node_selector
from cove.kube.kinds._podspec.defaults import default_resources, source_defaults
from cove.kube.kinds._podspec.volumes import driver_name, no_backsteps, required
from cove.kube.kinds._table import age
from cove.kube.kinds.core.persistentvolumeclaim import (
    _or_unset,
    access_mode_cells,
    access_modes,
    class_of,
)
from cove.kube.quantity import parse

__all__ = ["PersistentVolume", "validate_volume_spec"]

Errors = list[FieldError]
_RECLAIM = ("Delete", "Recycle", "Retain")


def _reference(errors: Errors, path: str, reference: Obj | None) -> None:
    if reference is None:
        return
    name, namespace = reference.get("name"), reference.get("namespace")
    if not name:
        errors.append(fe.required(f"{path}.name"))
    else:
        name_errors(errors, f"{path}.name", name, names.is_dns1123_subdomain)
    if not namespace:
        errors.append(fe.required(f"{path}.namespace"))
    else:
        name_errors(errors, f"{path}.namespace", namespace, names.is_dns1123_label)


def _csi(errors: Errors, path: str, source: Obj) -> None:
    driver_name(errors, f"{path}.driver", source.get("driver") or "")
    required(errors, path, source, "volumeHandle")
    for key in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        _reference(errors, f"{path}.{key}", source.get(key))


def _local(errors: Errors, path: str, source: Obj) -> None:
    where = source.get("path")
    if not where:
        errors.append(fe.required(f"{path}.path"))
    else:
        no_backsteps(errors, f"{path}.path", where)


def _azure_file(errors: Errors, path: str, source: Obj) -> None:
    required(errors, path, source, "secretName", "shareName")
    if source.get("secretNamespace") == "":
        errors.append(fe.required(f"{path}.secretNamespace"))


def _with_namespace(check: volumes.Check) -> volumes.Check:
    def checked(errors: Errors, path: str, source: Obj) -> None:
        check(errors, path, source)
        reference = source.get("secretRef")
        if reference is not None and not reference.get("namespace"):
            errors.append(fe.required(f"{path}.secretRef.namespace"))

    return checked


_POD = volumes._SOURCES
_SOURCES = {
    **{
        key: _POD[key]
        for key in (
            "hostPath",
            "gcePersistentDisk",
            "awsElasticBlockStore",
            "glusterfs",
            "flocker",
            "nfs",
            "rbd",
            "quobyte",
            "cephfs",
            "iscsi",
        )
    },
    "cinder": ("cinder", _with_namespace(_POD["cinder"][1]), "cinder"),
    "fc": _POD["fc"],
    "flexVolume": _POD["flexVolume"],
    "azureFile": ("azureFile", _azure_file, "azureFile"),
    **{
        key: _POD[key]
        for key in (
            "vsphereVolume",
            "photonPersistentDisk",
            "portworxVolume",
            "azureDisk",
            "scaleIO",
        )
    },
    "local": ("local", _local, "local"),
    "storageos": ("storageos", _with_namespace(_POD["storageos"][1]), "storageos"),
    "csi": ("csi", _csi, "csi"),
}


def validate_volume_spec(errors: Errors, path: str, spec: Obj, *, inline: bool = False) -> None:
    """The spec of a volume; ``inline`` is that of a VolumeAttachment."""
    context = "in the context of inline volumes"
    capacity = spec.get("capacity") or {}
    if inline:
        for key in ("claimRef", "capacity"):
            if spec.get(key):
                errors.append(fe.forbidden(f"{path}.{key}", f"may not be specified {context}"))
        if spec.get("csi") is None:
            errors.append(fe.required(f"{path}.csi", f"has to be specified {context}"))
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(fe.required(f"{path}.accessModes"))
    access_modes(errors, f"{path}.accessModes", modes)
    if not inline:
        if not capacity:
            errors.append(fe.required(f"{path}.capacity"))
        if "storage" not in capacity or len(capacity) > 1:
            errors.append(fe.not_supported(f"{path}.capacity", capacity or None, ("storage",)))
        for name, amount in sorted(capacity.items()):
            quantity = parse(amount)
            if quantity.value < 0:
                errors.append(
                    fe.invalid(
                        f"{path}.capacity[{name}]",
                        quantity.value,
                        "must be a valid resource quantity",
                    )
                )
            if quantity.nanos <= 0:
                errors.append(
                    fe.invalid(f"{path}.capacity[{name}]", amount, "must be greater than zero")
                )
    reclaim = spec.get("persistentVolumeReclaimPolicy")
    at = f"{path}.persistentVolumeReclaimPolicy"
    if reclaim:
        if inline:
            if reclaim != "Retain":
                errors.append(fe.forbidden(at, f"may only be Retain {context}"))
        elif reclaim not in _RECLAIM:
            errors.append(fe.not_supported(at, reclaim, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        place = f"{path}.nodeAffinity"
        if inline:
            errors.append(fe.forbidden(place, f"may not be specified {context}"))
        elif affinity.get("required") is None:
            errors.append(
                fe.required(f"{place}.required", "must specify required node constraints")
            )
        else:
            node_selector(errors, f"{place}.required", affinity["required"])
    volumes.validate_sources(errors, path, spec, _SOURCES)
    if spec.get("local") is not None and affinity is None:
        errors.append(fe.required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    host = (spec.get("hostPath") or {}).get("path") or ""
    if host and not host.strip("/") and reclaim == "Recycle":
        errors.append(fe.forbidden(at, "may not be 'recycle' for a hostPath mount of '/'"))
    if spec.get("storageClassName"):
        place = f"{path}.storageClassName"
        if inline:
            errors.append(fe.forbidden(place, f"may not be specified {context}"))
        else:
            name_errors(errors, place, spec["storageClassName"], names.is_dns1123_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None:
        place = f"{path}.volumeMode"
        if inline:
            if mode != "Filesystem":
                errors.append(
                    fe.forbidden(
                        place, f"may not specify volumeMode other than Filesystem {context}"
                    )
                )
        elif mode not in ("Block", "Filesystem"):
            errors.append(fe.not_supported(place, mode, ("Block", "Filesystem")))
    attributes = spec.get("volumeAttributesClassName")
    if attributes is not None:
        place = f"{path}.volumeAttributesClassName"
        if not attributes:
            errors.append(fe.required(place, "an empty string is disallowed"))
        else:
            name_errors(errors, place, attributes, names.is_dns1123_subdomain)
        if spec.get("csi") is None:
            errors.append(
                fe.required(
                    f"{path}.csi", "has to be specified when using volumeAttributesClassName"
                )
            )


class PersistentVolume(Kind):
    """A volume that outlives pods."""

    status = True
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        if spec.get("volumeMode") is None:
            spec["volumeMode"] = "Filesystem"
        source_defaults(spec)
        if spec.get("capacity"):
            default_resources({"limits": spec["capacity"]})

    def prepare_create(self, obj: Obj) -> None:
        # The moment of its birth is that of its first phase.
        created = obj["metadata"].get("creationTimestamp")
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": created or now_text()}

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        moved = before.get("lastPhaseTransitionTime")
        if status.get("phase") != before.get("phase"):
            if status.get("lastPhaseTransitionTime") in (None, moved):
                status["lastPhaseTransitionTime"] = now_text()

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        validate_volume_spec(errors, "spec", obj.get("spec") or {})
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        new, before = ({k: o["spec"].get(k) for k in _SOURCES} for o in (obj, old))
        csi, old_csi = new.get("csi"), before.get("csi")
        key = "controllerExpandSecretRef"
        if csi and old_csi and old_csi.get(key) is None and csi.get(key) is not None:
            new["csi"] = {k: v for k, v in csi.items() if k != key}
        if new != before:
            shown = diff("core.PersistentVolumeSource", before, new)
            errors.append(
                fe.forbidden(
                    "spec.persistentvolumesource",
                    f"spec.persistentvolumesource is immutable after creation\n{shown}",
                )
            )
        immutable(
            errors, "volumeMode", obj["spec"].get("volumeMode"), old["spec"].get("volumeMode")
        )
        affinity, old_affinity = obj["spec"].get("nodeAffinity"), old["spec"].get("nodeAffinity")
        if old_affinity is not None and affinity != old_affinity:
            errors.append(
                fe.invalid(
                    "nodeAffinity",
                    None if affinity is None else internal("core.VolumeNodeAffinity", affinity),
                    "field is immutable, except for updating from beta label to GA",
                )
            )
        if (
            old["spec"].get("volumeAttributesClassName") is not None
            and obj["spec"].get("volumeAttributesClassName") is None
        ):
            errors.append(
                fe.forbidden(
                    "spec.volumeAttributesClassName",
                    "update from non-nil value to nil is forbidden",
                )
            )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        spec, annotations = obj.get("spec") or {}, obj["metadata"].get("annotations") or {}
        if "volume.beta.kubernetes.io/storage-class" in annotations:
            out.append(
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since "
                'v1.8; use "storageClassName" attribute instead'
            )
        if "volume.beta.kubernetes.io/mount-options" in annotations:
            out.append(
                "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since "
                'v1.31; use "mountOptions" attribute instead'
            )
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            out.append(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning."
            )
        for key, text in _DEPRECATED.items():
            if spec.get(key) is not None:
                told = "storageOS" if key == "storageos" else key
                out.append(f"spec.{told}: {text}")
        size = (spec.get("capacity") or {}).get("storage")
        if size is not None and parse(size).milli % 1000:
            out.append(
                f'spec.capacity[storage]: fractional byte value "{size}" is invalid, must be an integer'
            )
        return out

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
        claim = spec.get("claimRef")
        return [
            meta.get("name", ""),
            (spec.get("capacity") or {}).get("storage", "0"),
            access_mode_cells(spec.get("accessModes")),
            spec.get("persistentVolumeReclaimPolicy") or "",
            "Terminating" if meta.get("deletionTimestamp") else status.get("phase") or "",
            f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
            class_of(obj),
            _or_unset(spec, "volumeAttributesClassName"),
            status.get("reason") or "",
            age(obj, now),
            _or_unset(spec, "volumeMode"),
        ]


_DEPRECATED = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
