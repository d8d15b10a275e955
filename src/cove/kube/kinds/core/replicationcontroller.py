"""ReplicationController."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds import _podspec
from cove.kube.kinds._checks import non_negative
from cove.kube.kinds._gojson import ordered
from cove.kube.kinds._kind import Obj
from cove.kube.kinds._table import age, containers, format_labels
from cove.kube.kinds._workload import Workload, replica_counts

__all__ = ["ReplicationController"]


class ReplicationController(Workload):
    """So many pods of one template, chosen by exact labels."""

    default_policy = "Orphan"
    empty_status = MappingProxyType({"replicas": 0})
    selectable = MappingProxyType(
        {"status.replicas": lambda o: str((o.get("status") or {}).get("replicas") or 0)}
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        template = spec.get("template")
        if spec.get("replicas") is None:
            spec["replicas"] = 1
        if template is None:
            return
        _podspec.default_spec(template.setdefault("spec", {}))
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            meta = obj.setdefault("metadata", {})
            if not meta.get("labels"):
                meta["labels"] = dict(labels)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.get("spec") or {}
        selector, template = spec.get("selector") or {}, spec.get("template")
        non_negative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        if not selector:
            errors.append(fe.required("spec.selector"))
        non_negative(errors, "spec.replicas", spec.get("replicas"))
        if template is None:
            errors.append(fe.required("spec.template"))
            return errors
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(k) != v for k, v in selector.items()):
            errors.append(
                fe.invalid(
                    "spec.template.metadata.labels",
                    ordered(labels) or None,
                    "`selector` does not match template `labels`",
                )
            )
        _podspec.validate_template(errors, "spec.template", template)
        pod = template.get("spec") or {}
        policy = pod.get("restartPolicy") or ""
        if policy != "Always":
            errors.append(fe.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
        if pod.get("activeDeadlineSeconds") is not None:
            errors.append(
                fe.forbidden(
                    "spec.template.spec.activeDeadlineSeconds",
                    "activeDeadlineSeconds in ReplicationController is not Supported",
                )
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

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
            *containers((self.template(obj).get("spec") or {}).get("containers")),
            format_labels(spec.get("selector")),
        ]
