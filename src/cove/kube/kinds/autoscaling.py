"""HorizontalPodAutoscaler: stored as autoscaling/v2, shown as v1 with the rest in annotations.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import name_errors, selector
from cove.kube.kinds._hpaconvert import to_v1, to_v2
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age
from cove.kube.quantity import parse

__all__ = ["HorizontalPodAutoscaler"]

Errors = list[FieldError]
_V1 = "autoscaling/v1"
_CPU = 80
_SOURCES = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "External": "external",
}
_UP: Obj = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Obj = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def default_metric() -> Obj:
    """The metric of an autoscaler that names none: 80 % of the requested CPU."""
    return {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": _CPU},
        },
    }


class HorizontalPodAutoscaler(Kind):
    """How many pods a workload shall have."""

    status = True
    storage_version = "autoscaling/v2"

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if obj.get("apiVersion") == _V1:
            # A v1 object without metrics shows the one that reading it as v2 gives it.
            obj.update(to_v1(to_v2(obj)))
            return
        if not spec.get("metrics"):
            spec["metrics"] = [default_metric()]
        behavior = spec.get("behavior")
        if behavior is not None:
            for key, rules in (("scaleUp", _UP), ("scaleDown", _DOWN)):
                behavior[key] = _merged(rules, behavior.get(key) or {})

    def reset_status(self, obj: Obj) -> None:
        if obj.get("apiVersion") == _V1:
            obj["status"] = {"currentReplicas": 0, "desiredReplicas": 0}
        else:
            obj["status"] = {"desiredReplicas": 0, "currentMetrics": None}

    def convert(self, obj: Obj, api_version: str) -> Obj:
        if obj.get("apiVersion") == api_version:
            return obj
        return to_v1(obj) if api_version == _V1 else to_v2(obj)

    def _v2(self, obj: Obj) -> Obj:
        return to_v2(obj) if obj.get("apiVersion") == _V1 else obj

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec = self._v2(obj).get("spec") or {}
        least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        metrics = spec.get("metrics") or []
        if least is not None and least < 1:
            errors.append(
                fe.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
            )
        if most < 1:
            errors.append(fe.required("spec.maxReplicas", "must be set and greater than 0"))
        if least is not None and most < least:
            errors.append(
                fe.invalid(
                    "spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"
                )
            )
        _reference(errors, "spec.scaleTargetRef", spec.get("scaleTargetRef") or {}, checked=True)
        for i, metric in enumerate(metrics):
            _metric(errors, f"spec.metrics[{i}]", metric)
        behavior = spec.get("behavior")
        if behavior is not None:
            for key in ("scaleUp", "scaleDown"):
                if behavior.get(key) is not None:
                    _rules(errors, f"spec.behavior.{key}", behavior[key])
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        status = obj.get("status") or {}
        for key in ("currentReplicas", "desiredReplicas"):
            value = status.get(key) or 0
            if value < 0:
                errors.append(
                    fe.invalid(f"status.{key}", value, "must be greater than or equal to 0")
                )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        obj = self._v2(obj)
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        target, least = spec.get("scaleTargetRef") or {}, spec.get("minReplicas")
        return [
            obj["metadata"].get("name", ""),
            f"{target.get('kind') or ''}/{target.get('name') or ''}",
            _targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
            "<unset>" if least is None else str(least),
            spec.get("maxReplicas") or 0,
            status.get("currentReplicas") or 0,
            age(obj, now),
        ]


def _merged(rules: Obj, own: Obj) -> Obj:
    out = {key: value for key, value in own.items() if value is not None}
    for key, value in rules.items():
        if out.get(key) is None:
            out[key] = [dict(p) for p in value] if isinstance(value, list) else value
    return out


def _reference(errors: Errors, path: str, reference: Obj, *, checked: bool) -> None:
    for key in ("kind", "name"):
        value = reference.get(key) or ""
        if not value:
            errors.append(fe.required(f"{path}.{key}"))
        else:
            name_errors(errors, f"{path}.{key}", value, names.is_path_segment_name)
    version = reference.get("apiVersion") or ""
    if checked and not version and reference.get("kind") != "ReplicationController":
        errors.append(
            fe.invalid(f"{path}.apiVersion", version, "apiVersion must specify API group")
        )
    elif version.count("/") > 1:
        errors.append(
            fe.invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
        )


def _identifier(errors: Errors, path: str, metric: Obj) -> None:
    name = metric.get("name") or ""
    if not name:
        errors.append(fe.required(f"{path}.name"))
    else:
        name_errors(errors, f"{path}.name", name, names.is_path_segment_name)
    selector(errors, f"{path}.selector", metric.get("selector"))


def _target(errors: Errors, path: str, target: Obj) -> None:
    kind = target.get("type") or ""
    if not kind:
        errors.append(fe.required(f"{path}.type", "must specify a metric target type"))
    elif kind not in ("Utilization", "Value", "AverageValue"):
        errors.append(
            fe.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
        )
    for key in ("value", "averageValue"):
        if target.get(key) is not None and parse(target[key]).nanos <= 0:
            errors.append(fe.invalid(f"{path}.{key}", target[key], "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errors.append(
            fe.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0")
        )


def _metric(errors: Errors, path: str, metric: Obj) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.append(fe.required(f"{path}.type", "must specify a metric source type"))
    elif kind not in _SOURCES:
        errors.append(fe.not_supported(f"{path}.type", kind, set(_SOURCES)))
    given = [key for key in _SOURCES.values() if metric.get(key) is not None]
    expected = _SOURCES.get(kind, "")
    if expected and expected not in given:
        errors.append(
            fe.required(
                f"{path}.{expected}",
                "must populate information for the given metric source",
            )
        )
    if len(given) != 1:
        errors += [
            fe.forbidden(
                f"{path}.{key}",
                "must populate the given metric source only",
            )
            for key in given
            if key != expected
        ]
    for key in given:
        _source(errors, f"{path}.{key}", key, metric[key])


def _source(errors: Errors, path: str, key: str, source: Obj) -> None:
    target = source.get("target") or {}
    value, average = target.get("value"), target.get("averageValue")
    if key in ("resource", "containerResource"):
        utilization = target.get("averageUtilization")
        if not source.get("name"):
            errors.append(fe.required(f"{path}.name", "must specify a resource name"))
        if key == "containerResource" and not source.get("container"):
            errors.append(fe.required(f"{path}.container", "must specify a container"))
        _target(errors, f"{path}.target", target)
        if utilization is None and average is None:
            errors.append(
                fe.required(
                    f"{path}.target.averageUtilization",
                    "must set either a target raw value or a target utilization",
                )
            )
        if utilization is not None and average is not None:
            errors.append(
                fe.forbidden(
                    f"{path}.target.averageValue",
                    "may not set both a target raw value and a target utilization",
                )
            )
        return
    if key == "object":
        _reference(
            errors, f"{path}.describedObject", source.get("describedObject") or {}, checked=False
        )
    _identifier(errors, f"{path}.metric", source.get("metric") or {})
    _target(errors, f"{path}.target", target)
    if key == "pods":
        if average is None or parse(average).nanos <= 0:
            errors.append(
                fe.required(
                    f"{path}.target.averageValue", "must specify a positive target averageValue"
                )
            )
        return
    if value is None and average is None:
        errors.append(
            fe.required(
                f"{path}.target.averageValue",
                "must set either a target value for metric or a per-pod target"
                if key == "external"
                else "must set either a target value or averageValue",
            )
        )
    if value is not None and average is not None:
        errors.append(
            fe.forbidden(
                f"{path}.target.value",
                "may not set both a target value for metric and a per-pod target",
            )
        )


def _rules(errors: Errors, path: str, rules: Obj) -> None:
    window = rules.get("stabilizationWindowSeconds")
    at = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.append(fe.invalid(at, window, "must be greater than or equal to zero"))
    if window is not None and window > 3600:
        errors.append(fe.invalid(at, window, "must be less than or equal to 3600"))
    choice = rules.get("selectPolicy")
    if choice is not None and choice not in ("Disabled", "Max", "Min"):
        errors.append(fe.not_supported(f"{path}.selectPolicy", choice, ("Disabled", "Max", "Min")))
    policies = rules.get("policies") or []
    if not policies:
        errors.append(fe.required(f"{path}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(policies):
        place, kind = f"{path}.policies[{i}]", policy.get("type") or ""
        if kind not in ("Percent", "Pods"):
            errors.append(fe.not_supported(f"{place}.type", kind, ("Percent", "Pods")))
        value, period = policy.get("value") or 0, policy.get("periodSeconds") or 0
        if value <= 0:
            errors.append(fe.invalid(f"{place}.value", value, "must be greater than zero"))
        if period <= 0:
            errors.append(fe.invalid(f"{place}.periodSeconds", period, "must be greater than zero"))
        if period > 1800:
            errors.append(
                fe.invalid(f"{place}.periodSeconds", period, "must be less than or equal to 1800")
            )
    tolerance = rules.get("tolerance")
    if tolerance is not None and parse(tolerance).nanos < 0:
        errors.append(
            fe.invalid(f"{path}.tolerance", tolerance, "must be greater than or equal to 0")
        )


def _targets(metrics: list[Obj], current: list[Obj]) -> str:
    """``cpu: 10%/80%, 3/10 + 1 more...``: two at most."""
    if not metrics:
        return "<none>"
    shown: list[str] = []
    for i, metric in enumerate(metrics):
        kind = metric.get("type") or ""
        key = _SOURCES.get(kind)
        if key is None:
            shown.append("<unknown type>")
            continue
        source = metric.get(key) or {}
        target = source.get("target") or {}
        now = ((current[i].get(key) if i < len(current) else None) or {}).get("current") or {}
        average = target.get("averageValue")
        if kind in ("Resource", "ContainerResource"):
            name = source.get("name") or ""
            if average is not None:
                shown.append(f"{name}: {now.get('averageValue') or '<unknown>'}/{average}")
            else:
                utilization, used = target.get("averageUtilization"), now.get("averageUtilization")
                wanted = "<auto>" if utilization is None else f"{utilization}%"
                shown.append(f"{name}: {'<unknown>' if used is None else f'{used}%'}/{wanted}")
        elif kind == "Pods":
            shown.append(f"{now.get('averageValue') or '<unknown>'}/{average}")
        elif average is not None:
            shown.append(f"{now.get('averageValue') or '<unknown>'}/{average} (avg)")
        else:
            shown.append(f"{now.get('value') or '<unknown>'}/{target.get('value')}")
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text
