"""Amounts of resources that containers, pods, quotas and limit ranges name.

Source: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import NEGATIVE
from cove.kube.quantity import Quantity, QuantityError, parse

__all__ = [
    "container_resource_name",
    "is_extended",
    "is_hugepages",
    "is_standard_resource",
    "pod_resource_name",
    "quantity_value",
    "resource_name",
    "validate_requirements",
]

Errors = list[FieldError]

_COMPUTE = frozenset(("cpu", "memory", "ephemeral-storage"))
_COUNTED = frozenset(
    (
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    )
)
STANDARD_QUOTA = frozenset(
    (
        *_COMPUTE,
        *_COUNTED,
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    )
)
_STANDARD = STANDARD_QUOTA | {"storage"}
_INTEGERS = _COUNTED


def is_hugepages(name: str) -> bool:
    """``hugepages-2Mi`` and its kin."""
    return name.startswith("hugepages-")


def is_standard_resource(name: str) -> bool:
    """A name without a domain that Kubernetes defines."""
    return name in _STANDARD or is_hugepages(name)


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


@lru_cache(256)
def is_extended(name: str) -> bool:
    """A device plugin's resource: ``example.com/gpu``."""
    if _is_native(name) or name.startswith("requests."):
        return False
    return not names.is_qualified_name(f"requests.{name}")


def _is_integer(name: str) -> bool:
    return name in _INTEGERS or is_extended(name)


def overcommit_allowed(name: str) -> bool:
    """Whether a request may stand below its limit."""
    return _is_native(name) and not is_hugepages(name)


def resource_name(errors: Errors, path: str, name: str) -> bool:
    """The name of any resource; True where it is fine."""
    faults = names.is_qualified_name(name)
    if faults:
        errors += [fe.invalid(path, name, m) for m in faults]
        return False
    if "/" not in name and not is_standard_resource(name):
        errors.append(fe.invalid(path, name, "must be a standard resource type or fully qualified"))
        return False
    return True


def container_resource_name(errors: Errors, path: str, name: str) -> None:
    """What a container may ask for."""
    if name in _COMPUTE:
        return
    resource_name(errors, path, name)
    if "/" not in name:
        if not is_hugepages(name):
            errors.append(fe.invalid(path, name, "must be a standard resource for containers"))
    elif not _is_native(name) and not is_extended(name):
        errors.append(fe.invalid(path, name, "doesn't follow extended resource name standard"))


def pod_resource_name(errors: Errors, path: str, name: str) -> None:
    """What a pod as a whole may ask for."""
    if (
        resource_name(errors, path, name)
        and name not in ("cpu", "memory")
        and not is_hugepages(name)
    ):
        errors.append(fe.not_supported(path, name, ("cpu", "hugepages-", "memory")))


def quantity_value(errors: Errors, path: str, name: str, amount: str) -> Quantity:
    """An amount that is not negative, and whole where the resource is counted in pieces."""
    quantity = parse(amount)
    if quantity.nanos < 0:
        errors.append(fe.invalid(path, amount, NEGATIVE))
    if name not in _COMPUTE and _is_integer(name) and quantity.milli % 1000:
        errors.append(fe.invalid(path, amount, "must be an integer"))
    return quantity


def _page_multiple(errors: Errors, path: str, name: str, amount: str, quantity: Quantity) -> None:
    try:
        size = parse(name.removeprefix("hugepages-")).value
    except QuantityError:
        return
    if size <= 0 or quantity.value % size:
        errors.append(
            fe.invalid(path, amount, f"{amount} is not positive integer multiple of {name}")
        )


def validate_requirements(
    errors: Errors,
    path: str,
    requirements: Mapping[str, Any],
    claims: Collection[str],
    check_name: Callable[[Errors, str, str], None] = container_resource_name,
) -> None:
    """ResourceRequirements; ``claims`` are the names in the pod's resourceClaims."""
    limits = requirements.get("limits") or {}
    requests = requirements.get("requests") or {}
    if not _fine(tuple(limits.items()), tuple(requests.items()), check_name):
        _judge(errors, path, limits, requests, check_name)
    if requirements.get("claims"):
        _claims(errors, f"{path}.claims", requirements["claims"], claims)


Pairs = tuple[tuple[str, str], ...]


@lru_cache(1024)
def _fine(limits: Pairs, requests: Pairs, check_name: Callable[[Errors, str, str], None]) -> bool:
    """Whether nothing is wrong; the same few amounts come again and again."""
    errors: Errors = []
    _judge(errors, "", dict(limits), dict(requests), check_name)
    return not errors


def _judge(
    errors: Errors,
    path: str,
    limits: Mapping[str, str],
    requests: Mapping[str, str],
    check_name: Callable[[Errors, str, str], None],
) -> None:
    compute = huge = False
    limit_quantities: dict[str, Quantity] = {}
    for name in sorted(limits):
        at, amount = f"{path}.limits[{name}]", limits[name]
        check_name(errors, at, name)
        quantity = limit_quantities[name] = quantity_value(errors, at, name, amount)
        if is_hugepages(name):
            huge = True
            _page_multiple(errors, at, name, amount, quantity)
        compute = compute or name == "cpu" or name == "memory"
    for name in sorted(requests):
        at, amount = f"{path}.requests[{name}]", requests[name]
        check_name(errors, at, name)
        quantity = quantity_value(errors, at, name, amount)
        limit = limit_quantities.get(name)
        if limit is not None:
            if quantity != limit and not overcommit_allowed(name):
                errors.append(
                    fe.invalid(
                        f"{path}.requests",
                        amount,
                        f"must be equal to {name} limit of {limits[name]}",
                    )
                )
            elif quantity > limit:
                errors.append(
                    fe.invalid(
                        f"{path}.requests",
                        amount,
                        f"must be less than or equal to {name} limit of {limits[name]}",
                    )
                )
        elif not overcommit_allowed(name):
            errors.append(
                fe.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
            )
        if is_hugepages(name):
            huge = True
            _page_multiple(errors, at, name, amount, quantity)
        compute = compute or name == "cpu" or name == "memory"
    if huge and not compute:
        errors.append(fe.forbidden(path, "HugePages require cpu or memory"))


def _claims(errors: Errors, path: str, claims: Any, known: Collection[str]) -> None:
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        at, name, request = f"{path}[{i}]", claim.get("name") or "", claim.get("request") or ""
        if not name:
            errors.append(fe.required(at))
        elif name in seen:
            errors.append(fe.duplicate(at, name))
        else:
            key = name
            if request:
                errors += [
                    fe.invalid(f"{at}.request", request, m) for m in names.is_dns1123_label(request)
                ]
                key = f"{name}/{request}"
            if key in seen:
                errors.append(fe.duplicate(at, key))
            elif not request:
                errors += [
                    fe.duplicate(at, name) for other in seen if other.partition("/")[0] == name
                ]
            seen.add(key)
        if name not in known:
            detail = "must be one of the names in pod.spec.resourceClaims"
            detail += ": " + ", ".join(sorted(known)) if known else " which is empty"
            missing = fe.not_found(at, name)
            errors.append(missing._replace(text=f"{missing.text}: {detail}"))
