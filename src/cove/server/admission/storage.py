"""Claims and volumes: default class, protection while in use, growth only where allowed."""

from __future__ import annotations

from typing import Any

import orjson

from cove.kube.quantity import parse
from cove.server.admission._chain import Attributes, Plugin

__all__ = ["DefaultStorageClass", "PersistentVolumeClaimResize", "StorageObjectInUseProtection"]

CLAIMS = "persistentvolumeclaims"
CLASSES = "storageclasses.storage.k8s.io"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT = "storageclass.beta.kubernetes.io/is-default-class"


class DefaultStorageClass(Plugin):
    """A claim without a class gets the newest default one."""

    name = "DefaultStorageClass"
    operations = frozenset(("CREATE",))
    storages = frozenset((CLAIMS,))

    def admit(self, a: Attributes) -> None:
        """Set spec.storageClassName."""
        if a.obj is None or "storageClassName" in a.obj["spec"]:
            return
        annotations = a.obj["metadata"].get("annotations", {})
        if "volume.beta.kubernetes.io/storage-class" in annotations:
            return
        found = []
        for stored in a.api.store.state.list(CLASSES):
            meta = orjson.loads(stored.data)["metadata"]
            notes = meta.get("annotations", {})
            if notes.get(DEFAULT) == "true" or notes.get(BETA_DEFAULT) == "true":
                found.append((meta["creationTimestamp"], stored.name))
        if found:
            newest = max(t for t, _ in found)
            a.obj["spec"]["storageClassName"] = min(n for t, n in found if t == newest)


class StorageObjectInUseProtection(Plugin):
    """Claims and volumes carry a finalizer until nobody uses them."""

    name = "StorageObjectInUseProtection"
    operations = frozenset(("CREATE",))
    storages = frozenset((CLAIMS, "persistentvolumes"))

    def admit(self, a: Attributes) -> None:
        """Add the finalizer."""
        if a.obj is None:
            return
        kind = "pvc" if a.endpoint.storage == CLAIMS else "pv"
        finalizer = f"kubernetes.io/{kind}-protection"
        meta = a.obj["metadata"]
        finalizers = meta.get("finalizers", [])
        if finalizer not in finalizers:
            meta["finalizers"] = [*finalizers, finalizer]


class PersistentVolumeClaimResize(Plugin):
    """A bound claim may grow only if its class allows expansion."""

    name = "PersistentVolumeClaimResize"
    operations = frozenset(("UPDATE",))
    storages = frozenset((CLAIMS,))

    def validate(self, a: Attributes) -> None:
        """Compare the requested sizes."""
        if a.obj is None or a.old is None:
            return
        new, old = _size(a.obj), _size(a.old)
        if new is None or old is None or parse(new) <= parse(old):
            return
        if a.old.get("status", {}).get("phase") != "Bound":
            raise a.forbidden("Only bound persistent volume claims can be expanded")
        name = a.obj["spec"].get("storageClassName")
        stored = a.api.store.state.get(CLASSES, "", name) if name else None
        if stored is None or not orjson.loads(stored.data).get("allowVolumeExpansion"):
            raise a.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )


def _size(obj: dict[str, Any]) -> Any:
    return obj["spec"].get("resources", {}).get("requests", {}).get("storage")
