"""Lease.  Source: https://kubernetes.io/docs/concepts/architecture/leases/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["Lease"]


class Lease(Kind):
    """Who holds something, and until when."""

    allow_create_on_update = True
    allow_unconditional_update = False

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            errors.append(
                fe.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
            )
        transitions = spec.get("leaseTransitions")
        if transitions is not None and transitions < 0:
            errors.append(
                fe.invalid(
                    "spec.leaseTransitions", transitions, "must be greater than or equal to 0"
                )
            )
        strategy = spec.get("strategy")
        if strategy is not None:
            errors += [
                fe.invalid("spec.strategy", strategy, m) for m in names.is_qualified_name(strategy)
            ]
        preferred = spec.get("preferredHolder")
        if preferred is not None and not strategy:
            errors.append(
                fe.forbidden(
                    "spec.preferredHolder", "may only be specified if `strategy` is defined"
                )
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        holder = (obj.get("spec") or {}).get("holderIdentity") or ""
        return [obj["metadata"].get("name", ""), holder, age(obj, now)]
