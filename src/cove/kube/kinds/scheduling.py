"""PriorityClass.  Source: https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["PriorityClass"]

_HIGHEST = 1_000_000_000
_SYSTEM = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_CHANGED = "may not be changed in an update."
_POLICIES = ("PreemptLowerPriority", "Never")


class PriorityClass(Kind):
    """A name for how important a pod is."""

    generation = True

    def default(self, obj: Obj) -> None:
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        return False

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        name, value = obj["metadata"].get("name") or "", obj.get("value") or 0
        if name.startswith("system-"):
            if name not in _SYSTEM:
                errors.append(
                    fe.forbidden(
                        "metadata.name",
                        "priority class names with 'system-' prefix are reserved for system use only. "
                        f"error: {name} is not a known system priority class",
                    )
                )
            elif value != _SYSTEM[name]:
                errors.append(
                    fe.forbidden(
                        "metadata.name",
                        "priority class names with 'system-' prefix are reserved for system use only. "
                        f"error: value of {name} PriorityClass must be {_SYSTEM[name]}",
                    )
                )
        elif value > _HIGHEST:
            errors.append(
                fe.forbidden(
                    "value", f"maximum allowed value of a user defined priority is {_HIGHEST}"
                )
            )
        policy = obj.get("preemptionPolicy")
        if policy is not None and policy not in _POLICIES:
            errors.append(
                fe.not_supported("preemptionPolicy", policy, _POLICIES)
                if policy
                else fe.required("preemptionPolicy")
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        if (obj.get("value") or 0) != (old.get("value") or 0):
            errors.append(fe.forbidden("value", _CHANGED))
        new, before = obj.get("preemptionPolicy"), old.get("preemptionPolicy")
        if new != before:
            errors.append(fe.invalid("preemptionPolicy", new, "field is immutable"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [
            obj["metadata"].get("name", ""),
            obj.get("value") or 0,
            bool(obj.get("globalDefault")),
            age(obj, now),
            obj.get("preemptionPolicy") or "",
        ]
