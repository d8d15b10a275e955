"""Deployment."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, non_negative
from cove.kube.kinds._checks import selector as check_selector
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Obj
from cove.kube.kinds._table import age, containers
from cove.kube.kinds._workload import Workload, check_template, replica_counts
from cove.kube.labels import SelectorError, from_document

__all__ = ["Deployment", "count_or_percent", "is_zero", "percent_at_most_100"]

Errors = list[FieldError]


def count_or_percent(errors: Errors, path: str, value: int | str | None) -> None:
    """A number that is not negative, or ``25%``."""
    if isinstance(value, str):
        errors += [fe.invalid(path, value, m) for m in names.is_percent(value)]
    else:
        non_negative(errors, path, value or 0)


def percent_at_most_100(errors: Errors, path: str, value: int | str | None) -> None:
    """``100%`` at most."""
    if isinstance(value, str) and not names.is_percent(value) and int(value[:-1]) > 100:
        errors.append(fe.invalid(path, value, "must not be greater than 100%"))


def is_zero(value: int | str | None) -> bool:
    """0, ``0%`` or nothing."""
    if isinstance(value, str):
        return not names.is_percent(value) and int(value[:-1]) == 0
    return not value


class Deployment(Workload):
    """ReplicaSets, and how one follows the other."""

    empty_status = MappingProxyType({})
    status_keeps = ("labels",)

    def default_own(self, spec: Obj) -> None:
        if spec.get("replicas") is None:
            spec["replicas"] = 1
        strategy = spec.setdefault("strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.get("rollingUpdate")
            if rolling is None:
                rolling = strategy["rollingUpdate"] = {}
            for key in ("maxUnavailable", "maxSurge"):
                if rolling.get(key) is None:
                    rolling[key] = "25%"
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = 10
        if spec.get("progressDeadlineSeconds") is None:
            spec["progressDeadlineSeconds"] = 600

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        # The rollout's history is in annotations: they count as part of what is asked for.
        return bool(
            obj.get("spec") != old.get("spec")
            or (obj["metadata"].get("annotations") or {})
            != (old["metadata"].get("annotations") or {})
        )

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = obj.get("spec") or {}
        non_negative(errors, "spec.replicas", spec.get("replicas"))
        document = spec.get("selector")
        if document is None:
            errors.append(fe.required("spec.selector"))
        else:
            check_selector(errors, "spec.selector", document)
            if not document:
                errors.append(
                    fe.invalid(
                        "spec.selector", document, "empty selector is invalid for deployment"
                    )
                )
        valid = True
        try:
            from_document(document)
        except SelectorError:
            valid = False
            errors.append(fe.invalid("spec.selector", document, "invalid label selector"))
        if valid:
            check_template(
                errors, "spec", document, spec.get("template") or {}, always="ReplicaSet"
            )
        self._strategy(errors, spec.get("strategy") or {})
        non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        non_negative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None:
            non_negative(errors, "spec.progressDeadlineSeconds", deadline)
            if deadline <= (spec.get("minReadySeconds") or 0):
                errors.append(
                    fe.invalid(
                        "spec.progressDeadlineSeconds",
                        deadline,
                        "must be greater than minReadySeconds",
                    )
                )
        return errors

    def _strategy(self, errors: Errors, strategy: Obj) -> None:
        kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
        path = "spec.strategy.rollingUpdate"
        if kind == "Recreate":
            if rolling is not None:
                errors.append(
                    fe.forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
                )
        elif kind == "RollingUpdate":
            if rolling is None:
                errors.append(fe.required(path, "this should be defaulted and never be nil"))
                return
            unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
            count_or_percent(errors, f"{path}.maxUnavailable", unavailable)
            count_or_percent(errors, f"{path}.maxSurge", surge)
            if is_zero(unavailable) and is_zero(surge):
                errors.append(
                    fe.invalid(
                        f"{path}.maxUnavailable",
                        unavailable if unavailable is not None else 0,
                        "may not be 0 when `maxSurge` is 0",
                    )
                )
            percent_at_most_100(errors, f"{path}.maxUnavailable", unavailable)
        else:
            errors.append(
                fe.not_supported(
                    "spec.strategy",
                    internal("apps.DeploymentStrategy", strategy),
                    ("Recreate", "RollingUpdate"),
                )
            )

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        immutable(errors, "spec.selector", obj["spec"].get("selector"), old["spec"].get("selector"))
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        status, before = obj.get("status") or {}, old.get("status") or {}
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        unavailable = ("unavailableReplicas",)
        non_negative(errors, "status.observedGeneration", status.get("observedGeneration"))
        replica_counts(errors, status, (*counts, *unavailable), at_most=counts[1:])
        collisions = status.get("collisionCount")
        if collisions is not None:
            non_negative(errors, "status.collisionCount", collisions)
        old_collisions = before.get("collisionCount")
        if old_collisions is not None and (collisions is None or collisions < old_collisions):
            errors.append(
                fe.invalid("status.collisionCount", collisions or 0, "cannot be decremented")
            )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        try:
            selector = str(from_document(spec.get("selector")))
        except SelectorError:
            selector = "<invalid>"
        return [
            obj["metadata"].get("name", ""),
            f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
            status.get("updatedReplicas") or 0,
            status.get("availableReplicas") or 0,
            age(obj, now),
            *containers((self.template(obj).get("spec") or {}).get("containers")),
            selector,
        ]
