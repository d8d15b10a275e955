"""RuntimeClass.  Source: https://kubernetes.io/docs/concepts/containers/runtime-class/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.affinity import validate_tolerations
from cove.kube.kinds._podspec.resources import validate_requirements
from cove.kube.kinds._table import age
from cove.kube.metadata import validate_labels

__all__ = ["RuntimeClass"]


class RuntimeClass(Kind):
    """A way to run containers."""

    allow_unconditional_update = False

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        handler = obj.get("handler") or ""
        errors += [fe.invalid("handler", handler, m) for m in names.is_dns1123_label(handler)]
        overhead = obj.get("overhead")
        if overhead is not None:
            validate_requirements(
                errors, "overhead.podFixed", {"limits": overhead.get("podFixed") or {}}, ()
            )
        scheduling = obj.get("scheduling")
        if scheduling is not None:
            errors += validate_labels(
                scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector"
            )
            tolerations = scheduling.get("tolerations") or []
            validate_tolerations(errors, "scheduling.tolerations", tolerations)
            for i, toleration in enumerate(tolerations):
                if toleration in tolerations[:i]:
                    errors.append(fe.duplicate(f"scheduling.tolerations[{i}]", toleration))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        immutable(errors, "handler", obj.get("handler"), old.get("handler"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), obj.get("handler") or "", age(obj, now)]
