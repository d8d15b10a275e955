"""ResourceQuota.  Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube.field_errors import FieldError
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.resources import (
    STANDARD_QUOTA,
    is_hugepages,
    quantity_value,
    resource_name,
)
from cove.kube.kinds._table import age

__all__ = ["ResourceQuota"]

Errors = list[FieldError]
_SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
_POD = frozenset(
    (
        "pods",
        "cpu",
        "memory",
        "requests.cpu",
        "requests.memory",
        "limits.cpu",
        "limits.memory",
        "ephemeral-storage",
        "requests.ephemeral-storage",
        "limits.ephemeral-storage",
    )
)
_EXISTS_ONLY = (
    "BestEffort",
    "NotBestEffort",
    "Terminating",
    "NotTerminating",
    "CrossNamespacePodAffinity",
)


def _standard(name: str) -> bool:
    return name in STANDARD_QUOTA or is_hugepages(name) or name.startswith("requests.hugepages-")


def _scope_fits(scope: str, resource: str) -> bool:
    if scope in (
        "Terminating",
        "NotTerminating",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
    ):
        return resource in _POD
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in ("persistentvolumeclaims", "requests.storage")
    return True


def _amounts(errors: Errors, path: str, amounts: Obj | None) -> None:
    for name, amount in sorted((amounts or {}).items()):
        at = f"{path}[{name}]"
        resource_name(errors, at, name)
        if "/" not in name and not _standard(name):
            errors.append(fe.invalid(at, name, "must be a standard resource for quota"))
        quantity_value(errors, at, name, amount)


def _conflicts(errors: Errors, path: str, found: set[str], told: Any) -> None:
    for pair in ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}):
        if pair <= found:
            errors.append(fe.invalid(path, told, "conflicting scopes"))


def _spec(errors: Errors, spec: Obj) -> None:
    hard = spec.get("hard") or {}
    _amounts(errors, "spec.hard", hard)
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(fe.invalid("spec.scopes", scopes, "unsupported scope"))
        errors += [
            fe.invalid("spec.scopes", scopes, "unsupported scope applied to resource")
            for name in sorted(hard)
            if _standard(name) and not _scope_fits(scope, name)
        ]
    _conflicts(errors, "spec.scopes", set(scopes), scopes)
    selector = spec.get("scopeSelector")
    if selector is None:
        return
    path = "spec.scopeSelector.matchExpressions"
    found: set[str] = set()
    for item in selector.get("matchExpressions") or ():
        scope, operator = item.get("scopeName") or "", item.get("operator") or ""
        values = item.get("values") or []
        if scope not in _SCOPES:
            errors.append(fe.invalid(f"{path}.scopeName", scope, "unsupported scope"))
        errors += [
            fe.invalid(
                path,
                internal("core.ScopeSelector", selector),
                "unsupported scope applied to resource",
            )
            for name in sorted(hard)
            if _standard(name) and not _scope_fits(scope, name)
        ]
        if scope in _EXISTS_ONLY and operator != "Exists":
            errors.append(
                fe.invalid(
                    f"{path}.operator",
                    operator,
                    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                    "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                    "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
                )
            )
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(
                    fe.required(
                        f"{path}.values",
                        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                    )
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.append(
                    fe.invalid(
                        f"{path}.values",
                        values,
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                    )
                )
        else:
            errors.append(fe.invalid(f"{path}.operator", operator, "not a valid selector operator"))
        found.add(scope)
    _conflicts(errors, path, found, spec.get("scopes") or None)


class ResourceQuota(Kind):
    """How much of everything a namespace may hold."""

    status = True
    empty_status = MappingProxyType({})
    returns_deleted = True

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        _spec(errors, obj.get("spec") or {})
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        scopes = (obj.get("spec") or {}).get("scopes") or []
        if set(scopes) != set((old.get("spec") or {}).get("scopes") or ()):
            errors.append(fe.invalid("spec.scopes", scopes or None, "field is immutable"))
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        status = obj.get("status") or {}
        _amounts(errors, "status.hard", status.get("hard"))
        _amounts(errors, "status.used", status.get("used"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        status = obj.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        requests: list[str] = []
        limits: list[str] = []
        for name in sorted(hard):
            target = limits if name.startswith("limits.") else requests
            target.append(f"{name}: {used.get(name, '0')}/{hard[name]}")
        return [
            obj["metadata"].get("name", ""),
            ", ".join(requests),
            ", ".join(limits),
            age(obj, now),
        ]
