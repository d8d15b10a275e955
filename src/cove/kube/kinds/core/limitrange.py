"""LimitRange.  Source: https://kubernetes.io/docs/concepts/policy/limit-range/"""

from __future__ import annotations

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.resources import (
    container_resource_name,
    overcommit_allowed,
    resource_name,
)
from cove.kube.quantity import Quantity, parse

__all__ = ["LimitRange"]

Errors = list[FieldError]
_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_ONE = parse("1")


class LimitRange(Kind):
    """Bounds and defaults for what one object may ask for."""

    allow_create_on_update = True

    def default(self, obj: Obj) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            if item.get("type") != "Container":
                continue
            limits = {**(item.get("max") or {}), **(item.get("default") or {})}
            requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
            if limits:
                item["default"] = limits
            if requests:
                item["defaultRequest"] = requests

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        seen: set[str] = set()
        for i, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
            path, kind = f"spec.limits[{i}]", item.get("type") or ""
            faults = names.is_qualified_name(kind)
            if faults:
                errors += [fe.invalid(f"{path}.type", kind, m) for m in faults]
            elif "/" not in kind and kind not in _TYPES:
                errors.append(
                    fe.invalid(
                        f"{path}.type", kind, "must be a standard limit type or fully qualified"
                    )
                )
            if kind in seen:
                errors.append(fe.duplicate(f"{path}.type", kind))
            seen.add(kind)
            _item(errors, path, kind, item)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_create(obj)


def _item(errors: Errors, path: str, kind: str, item: Obj) -> None:
    amounts: dict[str, dict[str, Quantity]] = {}
    known: set[str] = set()

    def read(key: str) -> None:
        amounts[key] = {}
        for name, amount in sorted((item.get(key) or {}).items()):
            check = container_resource_name if kind in ("Pod", "Container") else resource_name
            check(errors, f"{path}.{key}[{name}]", name)
            amounts[key][name] = parse(amount)
            known.add(name)

    read("max")
    read("min")
    for key in ("default", "defaultRequest"):
        if kind == "Pod":
            amounts[key] = {}
            if item.get(key):
                errors.append(
                    fe.forbidden(f"{path}.{key}", "may not be specified when `type` is 'Pod'")
                )
        else:
            read(key)
    if kind == "PersistentVolumeClaim":
        if "storage" not in amounts["min"] and "storage" not in amounts["max"]:
            errors.append(
                fe.required(
                    f"{path}.limits",
                    "either minimum or maximum storage value is required, but neither was provided",
                )
            )
    read("maxLimitRequestRatio")
    for name in sorted(known):
        low, high, default, request, ratio = (
            amounts[key].get(name)
            for key in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")
        )

        def told(key: str, value: Quantity, text: str, name: str = name) -> None:
            errors.append(fe.invalid(f"{path}.{key}[{name}]", str(value), text))

        if low is not None and high is not None and low > high:
            told("min", low, f"min value {low} is greater than max value {high}")
        if request is not None:
            if low is not None and low > request:
                told(
                    "defaultRequest",
                    request,
                    f"min value {low} is greater than default request value {request}",
                )
            if high is not None and request > high:
                told(
                    "defaultRequest",
                    request,
                    f"default request value {request} is greater than max value {high}",
                )
            if default is not None and request > default:
                told(
                    "defaultRequest",
                    request,
                    f"default request value {request} is greater than default limit value {default}",
                )
        if default is not None:
            if low is not None and low > default:
                told("default", low, f"min value {low} is greater than default value {default}")
            if high is not None and default > high:
                told("default", high, f"default value {default} is greater than max value {high}")
        if ratio is not None:
            if ratio < _ONE:
                told("maxLimitRequestRatio", ratio, f"ratio {ratio} is less than 1")
            if low is not None and high is not None and low.nanos:
                bound = high.nanos / low.nanos
                if ratio.nanos / 1_000_000_000 > bound:
                    told(
                        "maxLimitRequestRatio",
                        ratio,
                        f"ratio {ratio} is greater than max/min = {bound:f}",
                    )
        if (
            default is not None
            and request is not None
            and default != request
            and not overcommit_allowed(name)
        ):
            told(
                "defaultRequest",
                request,
                f"default value {default} must equal to defaultRequest value {request} in {name}",
            )
