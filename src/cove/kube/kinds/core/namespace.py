"""Namespace.  Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj, keep
from cove.kube.kinds._table import age

__all__ = ["Namespace"]

_NAME = "kubernetes.io/metadata.name"
_STANDARD = ("kubernetes", "orphan", "foregroundDeletion")


def _finalizers(errors: list[FieldError], path: str, finalizers: list[str], *, each: bool) -> None:
    for i, name in enumerate(finalizers):
        at = f"{path}[{i}]" if each else path
        errors += [fe.invalid(at, name, m) for m in names.is_qualified_name(name)]
        if "/" not in name and name not in _STANDARD:
            errors.append(
                fe.invalid(
                    at, name, "name is neither a standard finalizer name nor is it fully qualified"
                )
            )


class Namespace(Kind):
    """A room for names."""

    status = True
    returns_deleted = True
    selectable = MappingProxyType(
        {
            "status.phase": lambda o: (o.get("status") or {}).get("phase") or "",
            "name": lambda o: o["metadata"].get("name") or "",
        }
    )

    def default(self, obj: Obj) -> None:
        meta = obj.setdefault("metadata", {})
        name = meta.get("name")
        if name:
            labels = meta.get("labels")
            if labels is None:
                labels = meta["labels"] = {}
            labels[_NAME] = name
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Active"

    def validate_name(self, name: str) -> list[str]:
        return names.is_dns1123_label(name)

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Active"}
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        if "kubernetes" not in finalizers:
            obj["spec"] = {"finalizers": [*finalizers, "kubernetes"]}
        meta = obj["metadata"]
        if meta.get("generateName") and meta.get("name"):
            meta["labels"] = {**(meta.get("labels") or {}), _NAME: meta["name"]}

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        spec = obj.setdefault("spec", {})
        keep(spec, old.get("spec") or {}, "finalizers")

    def prepare_finalize(self, obj: Obj, old: Obj) -> None:
        """A write to the finalize subresource: the status stays."""
        keep(obj, old, "status")

    tells_grace = False

    def may_end(self, obj: Obj) -> bool:
        return not (obj.get("spec") or {}).get("finalizers")

    def marks_deletion(self, obj: Obj) -> bool:
        # The first deletion only marks, even where nothing is left to wait for.
        return True

    def marked_for_deletion(self, obj: Obj, now: str) -> None:
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        _finalizers(errors, "spec.finalizers", finalizers, each=False)
        return errors

    def validate_finalize(self, obj: Obj, old: Obj) -> list[FieldError]:
        """What is wrong with a write to the finalize subresource."""
        errors: list[FieldError] = []
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        _finalizers(errors, "spec.finalizers", finalizers, each=True)
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        phase = (obj.get("status") or {}).get("phase") or ""
        deleted = bool(old["metadata"].get("deletionTimestamp"))
        wanted = "Terminating" if deleted else "Active"
        if phase == wanted:
            return []
        state = "not empty" if deleted else "empty"
        return [
            fe.invalid(
                "status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` is {state}"
            )
        ]

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return []

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        phase = (obj.get("status") or {}).get("phase") or ""
        return [obj["metadata"].get("name", ""), phase, age(obj, now)]
