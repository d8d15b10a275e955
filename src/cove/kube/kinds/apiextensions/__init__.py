"""CustomResourceDefinition.

Source: ``pkg/registry/customresourcedefinition/strategy.go`` of apiextensions-apiserver.
"""

from __future__ import annotations

from typing import Any

from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds.apiextensions._spec import validate, validate_status
from cove.kube.kinds.apiextensions._warnings import warnings
from cove.kube.structural import same

__all__ = ["CLEANUP", "CustomResourceDefinition", "set_condition"]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def set_condition(crd: Obj, type: str, status: str, reason: str, message: str, now: str) -> None:
    """Write a condition; its time moves when its status does."""
    conditions = list(crd.setdefault("status", {}).get("conditions") or ())
    new = {
        "type": type,
        "status": status,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    for index, old in enumerate(conditions):
        if old["type"] == type:
            if old["status"] == status and old.get("lastTransitionTime"):
                new["lastTransitionTime"] = old["lastTransitionTime"]
            conditions[index] = {**old, **new}
            break
    else:
        conditions.append(new)
    crd["status"]["conditions"] = conditions


def _storage(crd: Obj) -> str | None:
    versions = crd.get("spec", {}).get("versions") or ()
    return next((v["name"] for v in versions if v.get("storage")), None)


class CustomResourceDefinition(Kind):
    """A kind that users define."""

    generation = True
    status = True
    allow_unconditional_update = False
    returns_deleted = True

    def default(self, obj: Obj) -> None:
        spec = obj["spec"]
        names = spec["names"]
        kind = names.get("kind", "")
        if not names.get("singular") and kind:
            names["singular"] = kind.lower()
        if not names.get("listKind") and kind:
            names["listKind"] = f"{kind}List"
        conversion = spec.get("conversion")
        if conversion is None:
            spec["conversion"] = {"strategy": "None"}
        elif webhook := conversion.get("webhook"):
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None and service.get("port") is None:
                service["port"] = 443

    def prepare_create(self, obj: Obj) -> None:
        obj["metadata"]["generation"] = 1
        storage = _storage(obj)
        obj["status"] = {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": None if storage is None else [storage],
        }

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        storage = _storage(obj)
        stored = obj.get("status", {}).get("storedVersions") or []
        if storage is not None and storage not in stored:
            obj["status"] = {**obj.get("status", {}), "storedVersions": [*stored, storage]}

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        return not same(obj.get("spec"), old.get("spec"))

    def validate_create(self, obj: Obj) -> list[FieldError]:
        return validate(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return validate(obj, old)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        return validate_status(obj)

    def marks_deletion(self, obj: Obj) -> bool:
        # Its instances go first.
        return "deletionTimestamp" not in obj["metadata"]

    def marked_for_deletion(self, obj: Obj, now: str) -> None:
        meta = obj["metadata"]
        # Upstream marks CRDs in a way of its own, which does not count as a change.
        meta.pop("deletionGracePeriodSeconds", None)
        meta["generation"] = meta.get("generation", 1) - 1
        if CLEANUP not in meta.get("finalizers", ()):
            meta["finalizers"] = [*meta.get("finalizers", ()), CLEANUP]
        set_condition(
            obj,
            "Terminating",
            "True",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            now,
        )

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return warnings(obj, old)

    def row(self, obj: Obj, now: Any) -> list[Any]:
        meta = obj["metadata"]
        return [meta["name"], meta.get("creationTimestamp")]
