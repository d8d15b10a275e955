"""PodDisruptionBudget.  Source: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import non_negative, selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age
from cove.kube.kinds.apps.deployment import count_or_percent, percent_at_most_100

__all__ = ["PodDisruptionBudget"]

_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


class PodDisruptionBudget(Kind):
    """How many pods of a group evictions may take."""

    generation = True
    status = True
    empty_status = MappingProxyType(dict.fromkeys(_COUNTS, 0))
    allow_unconditional_update = False

    def validate_name(self, name: str) -> list[str]:
        return names.is_path_segment_name(name)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if least is not None and most is not None:
            errors.append(
                fe.invalid(
                    "spec",
                    internal("policy.PodDisruptionBudgetSpec", spec),
                    "minAvailable and maxUnavailable cannot be both set",
                )
            )
        for key in ("minAvailable", "maxUnavailable"):
            if spec.get(key) is not None:
                count_or_percent(errors, f"spec.{key}", spec[key])
                percent_at_most_100(errors, f"spec.{key}", spec[key])
        selector(errors, "spec.selector", spec.get("selector"))
        policy = spec.get("unhealthyPodEvictionPolicy")
        supported = ("AlwaysAllow", "IfHealthyBudget")
        if policy is not None and policy not in supported:
            errors.append(fe.not_supported("spec.unhealthyPodEvictionPolicy", policy, supported))
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        status = obj.get("status") or {}
        _conditions(errors, status.get("conditions") or [])
        for key in _COUNTS:
            non_negative(errors, f"status.{key}", status.get(key))
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return []

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        return [
            obj["metadata"].get("name", ""),
            "N/A" if least is None else str(least),
            "N/A" if most is None else str(most),
            status.get("disruptionsAllowed") or 0,
            age(obj, now),
        ]


def _conditions(errors: list[FieldError], conditions: list[Obj]) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, kind = f"status.conditions[{i}]", condition.get("type") or ""
        if kind in seen:
            errors.append(fe.duplicate(f"{at}.type", kind))
        seen.add(kind)
        errors += condition_errors(at, condition)


def condition_errors(path: str, condition: Obj) -> list[FieldError]:
    """What is wrong with a metav1.Condition."""
    errors: list[FieldError] = []
    kind, state, reason = (condition.get(k) or "" for k in ("type", "status", "reason"))
    if not kind:
        errors.append(fe.required(f"{path}.type", "must be set"))
    else:
        errors += [fe.invalid(f"{path}.type", kind, m) for m in names.is_qualified_name(kind)]
    if state not in ("True", "False", "Unknown"):
        errors.append(fe.not_supported(f"{path}.status", state, {"True", "False", "Unknown"}))
    generation = condition.get("observedGeneration") or 0
    if generation < 0:
        errors.append(
            fe.invalid(
                f"{path}.observedGeneration", generation, "must be greater than or equal to zero"
            )
        )
    if not condition.get("lastTransitionTime"):
        errors.append(fe.required(f"{path}.lastTransitionTime", "must be set"))
    if not reason:
        errors.append(fe.required(f"{path}.reason", "must be set"))
    elif len(reason) > 1024:
        errors.append(fe.too_long(f"{path}.reason", 1024))
    if len(condition.get("message") or "") > 32 * 1024:
        errors.append(fe.too_long(f"{path}.message", 32 * 1024))
    return errors
