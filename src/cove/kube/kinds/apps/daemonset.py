"""DaemonSet."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, non_negative
from cove.kube.kinds._checks import selector as check_selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Obj
from cove.kube.kinds._table import age, format_labels
from cove.kube.kinds._workload import Workload, check_template
from cove.kube.kinds.apps.deployment import count_or_percent, is_zero, percent_at_most_100

__all__ = ["DaemonSet"]

_GENERATION = "deprecated.daemonset.template.generation"
_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
)


class DaemonSet(Workload):
    """A pod on every node that fits."""

    versioned_annotations = (_GENERATION,)

    empty_status = MappingProxyType(dict.fromkeys(_COUNTS, 0))

    def default_own(self, spec: Obj) -> None:
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.get("rollingUpdate")
            if rolling is None:
                rolling = strategy["rollingUpdate"] = {}
            if rolling.get("maxUnavailable") is None:
                rolling["maxUnavailable"] = 1
            if rolling.get("maxSurge") is None:
                rolling["maxSurge"] = 0
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = 10

    def default(self, obj: Obj) -> None:
        super().default(obj)
        # The internal type keeps the number in its spec; the versioned one shows it here.
        self._set_template_generation(obj, self._template_generation(obj))

    def prepare_create(self, obj: Obj) -> None:
        super().prepare_create(obj)
        self._set_template_generation(obj, 1)

    @staticmethod
    def _set_template_generation(obj: Obj, generation: int) -> None:
        meta = obj.setdefault("metadata", {})
        meta["annotations"] = {**(meta.get("annotations") or {}), _GENERATION: str(generation)}

    @staticmethod
    def _template_generation(obj: Obj) -> int:
        text = (obj.get("metadata", {}).get("annotations") or {}).get(_GENERATION, "0")
        return int(text) if text.lstrip("-").isdigit() else 0

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        generation = self._template_generation(old)
        if self.template(obj) != self.template(old):
            generation += 1
        self._set_template_generation(obj, generation)

    def prepare_status(self, obj: Obj, old: Obj) -> None:
        super().prepare_status(obj, old)
        self._set_template_generation(obj, self._template_generation(old))

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        document = spec.get("selector")
        template = spec.get("template") or {}
        check_selector(errors, "spec.selector", document)
        check_template(errors, "spec", document, template, always="")
        if document is not None and not document:
            errors.append(
                fe.invalid("spec.selector", document, "empty selector is invalid for daemonset")
            )
        pod = template.get("spec") or {}
        policy = pod.get("restartPolicy") or ""
        if policy != "Always":
            errors.append(fe.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
        if pod.get("activeDeadlineSeconds") is not None:
            errors.append(
                fe.forbidden(
                    "spec.template.spec.activeDeadlineSeconds",
                    "activeDeadlineSeconds in DaemonSet is not Supported",
                )
            )
        non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        self._strategy(errors, spec.get("updateStrategy") or {})
        non_negative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        return errors

    def _strategy(self, errors: list[FieldError], strategy: Obj) -> None:
        kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
        path = "spec.updateStrategy.rollingUpdate"
        if kind == "RollingUpdate":
            if rolling is None:
                errors.append(fe.required(path))
                return
            unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
            count_or_percent(errors, f"{path}.maxUnavailable", unavailable)
            count_or_percent(errors, f"{path}.maxSurge", surge)
            percent_at_most_100(errors, f"{path}.maxUnavailable", unavailable)
            percent_at_most_100(errors, f"{path}.maxSurge", surge)
            if is_zero(unavailable) and is_zero(surge):
                errors.append(
                    fe.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")
                )
            if not is_zero(unavailable) and not is_zero(surge):
                errors.append(
                    fe.invalid(
                        f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"
                    )
                )
        elif kind != "OnDelete":
            errors.append(
                fe.not_supported(
                    "spec.updateStrategy",
                    internal("apps.DaemonSetUpdateStrategy", strategy),
                    ("RollingUpdate", "OnDelete"),
                )
            )

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        immutable(errors, "spec.selector", obj["spec"].get("selector"), old["spec"].get("selector"))
        return errors + self.validate_create(obj)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        status, before = obj.get("status") or {}, old.get("status") or {}
        for key in (
            *_COUNTS,
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
        ):
            non_negative(errors, f"status.{key}", status.get(key))
        collisions, old_collisions = status.get("collisionCount"), before.get("collisionCount")
        if collisions is not None:
            non_negative(errors, "status.collisionCount", collisions)
        if old_collisions is not None and (collisions is None or collisions < old_collisions):
            errors.append(
                fe.invalid("status.collisionCount", collisions or 0, "cannot be decremented")
            )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        status = obj.get("status") or {}
        return [
            obj["metadata"].get("name", ""),
            status.get("desiredNumberScheduled") or 0,
            status.get("currentNumberScheduled") or 0,
            status.get("numberReady") or 0,
            status.get("updatedNumberScheduled") or 0,
            status.get("numberAvailable") or 0,
            format_labels((self.template(obj).get("spec") or {}).get("nodeSelector")),
            age(obj, now),
            *self.wide_cells(obj),
        ]
