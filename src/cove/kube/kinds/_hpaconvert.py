"""Autoscalers between autoscaling/v2 and v1: what v1 has no field for travels in annotations.

Source: ``pkg/apis/autoscaling/v1/conversion.go``.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["to_v1", "to_v2"]

Obj = dict[str, Any]

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_ALL = (_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR)


def _text(value: Any) -> str:
    out = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for char, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        out = out.replace(char, escape)
    return out


def _json(annotations: Obj, key: str) -> Any:
    text = annotations.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _compact(**fields: Any) -> Obj:
    return {key: value for key, value in fields.items() if value is not None}


def _metric_to_v1(metric: Obj) -> Obj:
    kind = metric.get("type") or ""
    out: Obj = {"type": kind}
    for key in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(key)
        if source is None:
            continue
        target, named = source.get("target") or {}, source.get("metric") or {}
        value, average = target.get("value"), target.get("averageValue")
        if key == "object":
            out[key] = {
                "target": source.get("describedObject") or {},
                "metricName": named.get("name") or "",
                "targetValue": value if value is not None else "0",
                **_compact(selector=named.get("selector"), averageValue=average),
            }
        elif key == "pods":
            out[key] = {
                "metricName": named.get("name") or "",
                "targetAverageValue": average if average is not None else "0",
                **_compact(selector=named.get("selector")),
            }
        elif key == "external":
            out[key] = {
                "metricName": named.get("name") or "",
                **_compact(
                    metricSelector=named.get("selector"),
                    targetValue=value,
                    targetAverageValue=average,
                ),
            }
        else:
            out[key] = {
                "name": source.get("name") or "",
                **_compact(
                    targetAverageUtilization=target.get("averageUtilization"),
                    targetAverageValue=average,
                ),
                **({"container": source.get("container") or ""} if key != "resource" else {}),
            }
    return out


def _metric_to_v2(metric: Obj) -> Obj:
    out: Obj = {"type": metric.get("type") or ""}
    for key in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(key)
        if source is None:
            continue
        if key == "object":
            average = source.get("averageValue")
            target = (
                {"type": "Value", "value": source.get("targetValue")}
                if average is None
                else {"type": "AverageValue", "averageValue": average}
            )
            out[key] = {
                "describedObject": source.get("target") or {},
                "metric": {
                    "name": source.get("metricName") or "",
                    **_compact(selector=source.get("selector")),
                },
                "target": target,
            }
        elif key == "pods":
            out[key] = {
                "metric": {
                    "name": source.get("metricName") or "",
                    **_compact(selector=source.get("selector")),
                },
                "target": {
                    "type": "AverageValue",
                    "averageValue": source.get("targetAverageValue"),
                },
            }
        elif key == "external":
            value, average = source.get("targetValue"), source.get("targetAverageValue")
            out[key] = {
                "metric": {
                    "name": source.get("metricName") or "",
                    **_compact(selector=source.get("metricSelector")),
                },
                "target": {
                    "type": "Value" if value is not None else "AverageValue",
                    **_compact(value=value, averageValue=average),
                },
            }
        else:
            utilization = source.get("targetAverageUtilization")
            out[key] = {
                "name": source.get("name") or "",
                "target": {
                    "type": "Utilization" if utilization is not None else "AverageValue",
                    **_compact(
                        averageUtilization=utilization,
                        averageValue=source.get("targetAverageValue"),
                    ),
                },
                **({"container": source.get("container") or ""} if key != "resource" else {}),
            }
    return out


def _status_metric_to_v1(metric: Obj) -> Obj:
    out: Obj = {"type": metric.get("type") or ""}
    for key in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(key)
        if source is None:
            continue
        now, named = source.get("current") or {}, source.get("metric") or {}
        value, average = now.get("value"), now.get("averageValue")
        if key == "object":
            out[key] = {
                "target": source.get("describedObject") or {},
                "metricName": named.get("name") or "",
                "currentValue": value if value is not None else "0",
                **_compact(selector=named.get("selector"), averageValue=average),
            }
        elif key == "pods":
            out[key] = {
                "metricName": named.get("name") or "",
                "currentAverageValue": average if average is not None else "0",
                **_compact(selector=named.get("selector")),
            }
        elif key == "external":
            out[key] = {
                "metricName": named.get("name") or "",
                **_compact(metricSelector=named.get("selector")),
                "currentValue": value if value is not None else "0",
                **_compact(currentAverageValue=average),
            }
        else:
            out[key] = {
                "name": source.get("name") or "",
                **_compact(currentAverageUtilization=now.get("averageUtilization")),
                "currentAverageValue": average if average is not None else "0",
                **({"container": source.get("container") or ""} if key != "resource" else {}),
            }
    return out


def _status_metric_to_v2(metric: Obj) -> Obj:
    out: Obj = {"type": metric.get("type") or ""}
    for key in ("object", "pods", "resource", "containerResource", "external"):
        source = metric.get(key)
        if source is None:
            continue
        named = {
            "name": source.get("metricName") or "",
            **_compact(selector=source.get("metricSelector") or source.get("selector")),
        }
        now = _compact(
            value=source.get("currentValue"),
            averageValue=source.get("currentAverageValue") or source.get("averageValue"),
            averageUtilization=source.get("currentAverageUtilization"),
        )
        if key in ("resource", "containerResource"):
            out[key] = {"name": source.get("name") or "", "current": now}
            if key == "containerResource":
                out[key]["container"] = source.get("container") or ""
        else:
            out[key] = {"metric": named, "current": now}
            if key == "object":
                out[key]["describedObject"] = source.get("target") or {}
    return out


def _rules_to_text(rules: Obj | None) -> Obj | None:
    if rules is None:
        return None
    policies = rules.get("policies")
    return {
        "StabilizationWindowSeconds": rules.get("stabilizationWindowSeconds"),
        "SelectPolicy": rules.get("selectPolicy"),
        "Policies": None
        if policies is None
        else [
            {
                "Type": p.get("type") or "",
                "Value": p.get("value") or 0,
                "PeriodSeconds": p.get("periodSeconds") or 0,
            }
            for p in policies
        ],
        "Tolerance": rules.get("tolerance"),
    }


def _rules_from_text(rules: Any) -> Obj | None:
    if not isinstance(rules, dict):
        return None
    own = {key.lower(): value for key, value in rules.items()}
    policies = own.get("policies")
    return _compact(
        stabilizationWindowSeconds=own.get("stabilizationwindowseconds"),
        selectPolicy=own.get("selectpolicy"),
        policies=None
        if policies is None
        else [
            {
                "type": p.get("Type") or p.get("type") or "",
                "value": p.get("Value") or p.get("value") or 0,
                "periodSeconds": p.get("PeriodSeconds") or p.get("periodSeconds") or 0,
            }
            for p in policies
        ],
        tolerance=own.get("tolerance"),
    )


def _is_cpu(metric: Obj) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    return (
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and target.get("averageUtilization") is not None
    )


def _with_annotations(meta: Obj, annotations: Obj) -> Obj:
    out = {key: value for key, value in meta.items() if key != "annotations"}
    if annotations:
        out["annotations"] = annotations
    return out


def to_v1(obj: Obj) -> Obj:
    """A v2 autoscaler as v1."""
    spec, status, meta = (
        dict(obj.get("spec") or {}),
        obj.get("status") or {},
        obj.get("metadata") or {},
    )
    metrics, behavior = spec.pop("metrics", None) or [], spec.pop("behavior", None)
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _ALL}
    cpu = next(
        (
            m
            for m in metrics
            if m.get("type") == "Resource" and (m.get("resource") or {}).get("name") == "cpu"
        ),
        None,
    )
    if cpu is not None:
        utilization = ((cpu.get("resource") or {}).get("target") or {}).get("averageUtilization")
        if utilization is not None:
            spec["targetCPUUtilizationPercentage"] = utilization
    others = [_metric_to_v1(m) for m in metrics if not _is_cpu(m)]
    if others:
        annotations[_METRICS] = _text(others)
    current = status.get("currentMetrics") or []
    if current:
        annotations[_CURRENT] = _text([_status_metric_to_v1(m) for m in current])
    conditions = status.get("conditions") or []
    if conditions:
        annotations[_CONDITIONS] = _text(
            [
                {
                    "type": c.get("type") or "",
                    "status": c.get("status") or "",
                    "lastTransitionTime": c.get("lastTransitionTime"),
                    **{k: c[k] for k in ("reason", "message") if c.get(k)},
                }
                for c in conditions
            ]
        )
    if behavior is not None:
        annotations[_BEHAVIOR] = _text(
            {
                "ScaleUp": _rules_to_text(behavior.get("scaleUp")),
                "ScaleDown": _rules_to_text(behavior.get("scaleDown")),
            }
        )
    shown = {k: v for k, v in status.items() if k in ("observedGeneration", "lastScaleTime")}
    shown["currentReplicas"] = status.get("currentReplicas") or 0
    shown["desiredReplicas"] = status.get("desiredReplicas") or 0
    for metric in current:
        resource = metric.get("resource") or {}
        used = (resource.get("current") or {}).get("averageUtilization")
        if metric.get("type") == "Resource" and resource.get("name") == "cpu" and used is not None:
            shown["currentCPUUtilizationPercentage"] = used
    out = {**obj, "apiVersion": "autoscaling/v1", "spec": spec, "status": shown}
    out["metadata"] = _with_annotations(meta, annotations)
    return out


def to_v2(obj: Obj) -> Obj:
    """A v1 autoscaler as v2."""
    from cove.kube.kinds.autoscaling import default_metric

    spec, status, meta = (
        dict(obj.get("spec") or {}),
        obj.get("status") or {},
        obj.get("metadata") or {},
    )
    annotations = meta.get("annotations") or {}
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    metrics: list[Obj] = []
    if utilization is not None:
        metric = default_metric()
        metric["resource"]["target"]["averageUtilization"] = utilization
        metrics.append(metric)
    others = _json(annotations, _METRICS)
    if isinstance(others, list):
        metrics = [_metric_to_v2(m) for m in others if isinstance(m, dict)] + metrics
    spec["metrics"] = metrics or [default_metric()]
    behavior = _json(annotations, _BEHAVIOR)
    if isinstance(behavior, dict):
        spec["behavior"] = _compact(
            scaleUp=_rules_from_text(behavior.get("ScaleUp") or behavior.get("scaleUp")),
            scaleDown=_rules_from_text(behavior.get("ScaleDown") or behavior.get("scaleDown")),
        )
    shown = {k: v for k, v in status.items() if k in ("observedGeneration", "lastScaleTime")}
    if status.get("currentReplicas"):
        shown["currentReplicas"] = status["currentReplicas"]
    shown["desiredReplicas"] = status.get("desiredReplicas") or 0
    current = _json(annotations, _CURRENT)
    shown["currentMetrics"] = None
    if isinstance(current, list):
        shown["currentMetrics"] = [_status_metric_to_v2(m) for m in current]
    elif status.get("currentCPUUtilizationPercentage") is not None:
        shown["currentMetrics"] = [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "current": {"averageUtilization": status["currentCPUUtilizationPercentage"]},
                },
            }
        ]
    conditions = _json(annotations, _CONDITIONS)
    if isinstance(conditions, list):
        shown["conditions"] = conditions
    out = {**obj, "apiVersion": "autoscaling/v2", "spec": spec, "status": shown}
    out["metadata"] = _with_annotations(
        meta, {k: v for k, v in annotations.items() if k not in _ALL}
    )
    return out
