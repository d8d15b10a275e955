"""autoscaling/v1 Scale: the scale subresource of workloads.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Column, Obj
from cove.kube.kinds._table import age
from cove.kube.kinds._table import columns as table_columns
from cove.kube.labels import from_document

__all__ = ["apply_scale", "columns", "row", "scale_of", "validate_scale"]


def _selector(workload: Obj) -> str:
    selector = (workload.get("spec") or {}).get("selector")
    if workload.get("kind") == "ReplicationController" or workload.get("apiVersion") == "v1":
        return ",".join(f"{k}={v}" for k, v in sorted((selector or {}).items()))
    return str(from_document(selector)) if selector is not None else ""


def scale_of(workload: Obj) -> Obj:
    """The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController."""
    meta = workload["metadata"]
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    shown: Obj = {"replicas": status.get("replicas") or 0}
    selector = _selector(workload)
    if selector:
        shown["selector"] = selector
    replicas = spec.get("replicas") or 0
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            key: meta[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if meta.get(key)
        },
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def validate_scale(scale: Obj) -> list[FieldError]:
    """What is wrong with a Scale: told as ``Scale.autoscaling "x" is invalid``."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        return [fe.invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
    return []


def apply_scale(workload: Obj, scale: Obj) -> Obj:
    """The workload with the scale's number of replicas and, if it gives one, its resourceVersion."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    meta = workload["metadata"]
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        meta = {**meta, "resourceVersion": version}
    return {
        **workload,
        "metadata": dict(meta),
        "spec": {**(workload.get("spec") or {}), "replicas": replicas},
    }


def columns() -> Sequence[Column]:
    """The columns of a Scale's Table."""
    return table_columns("autoscaling", "Scale")


def row(scale: Obj, now: datetime) -> list[Any]:
    """The cells of a Scale's row."""
    return [
        scale["metadata"].get("name", ""),
        (scale.get("spec") or {}).get("replicas") or 0,
        (scale.get("status") or {}).get("replicas") or 0,
        age(scale, now),
    ]
