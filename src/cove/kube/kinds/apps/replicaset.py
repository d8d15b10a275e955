"""ReplicaSet."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import immutable, non_negative
from cove.kube.kinds._kind import Obj
from cove.kube.kinds._table import age
from cove.kube.kinds._workload import Workload, replica_counts, validate_selected_template

__all__ = ["ReplicaSet"]

_EMPTY = "empty selector is invalid for deployment"


class ReplicaSet(Workload):
    """So many pods of one template."""

    empty_status = MappingProxyType({"replicas": 0})

    def default_own(self, spec: Obj) -> None:
        if spec.get("replicas") is None:
            spec["replicas"] = 1

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        non_negative(errors, "spec.replicas", spec.get("replicas"))
        non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        if spec.get("selector") is None:
            errors.append(fe.required("spec.selector"))
        validate_selected_template(errors, "spec", spec, always="ReplicaSet", empty_text=_EMPTY)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        immutable(errors, "spec.selector", obj["spec"].get("selector"), old["spec"].get("selector"))
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        counts = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
        replica_counts(
            errors, obj.get("status") or {}, (*counts, "observedGeneration"), at_most=counts[1:]
        )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("replicas") or 0,
            status.get("replicas") or 0,
            status.get("readyReplicas") or 0,
            age(obj, now),
            *self.wide_cells(obj),
        ]
