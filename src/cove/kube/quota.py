"""ResourceQuota: what an object uses, which quotas it counts against, what is used in all.

Pure, shared by the admission plugin (:func:`usage`, :func:`matching`, :func:`in_scope`,
:func:`missing`: one object against ``status``) and by the quota controller
(:func:`resources` and :func:`tally`: every object of the namespace into ``status``).
Resources are named by their storage key: ``pods``, ``deployments.apps``.

Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from cove.kube.kinds._podspec.resources import is_extended
from cove.kube.kinds.core._qos import qos_class
from cove.kube.podresources import Amounts, amounts, pod_resources
from cove.kube.quantity import Quantity
from cove.kube.times import parse_time

__all__ = [
    "IGNORED",
    "counted",
    "in_scope",
    "is_terminating",
    "matching",
    "missing",
    "resources",
    "tally",
    "usage",
]

Obj = dict[str, Any]

# Never counted: there are too many of them.
IGNORED = frozenset(("events", "events.events.k8s.io"))
CLAIMS = "resourceclaims.resource.k8s.io"
VOLUME_CLAIMS = "persistentvolumeclaims"

_COMPUTE = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "requests.", "limits.")
    for name in ("cpu", "memory", "ephemeral-storage")
)
# A quota on these makes every container name them: an old mistake that stays.
_MANDATORY = frozenset(
    f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory")
)
_NAMES: dict[str, frozenset[str]] = {
    "pods": _COMPUTE | {"pods", "count/pods"},
    "services": frozenset(
        ("services", "services.nodeports", "services.loadbalancers", "count/services")
    ),
    VOLUME_CLAIMS: frozenset((VOLUME_CLAIMS, "requests.storage", f"count/{VOLUME_CLAIMS}")),
    CLAIMS: frozenset((f"count/{CLAIMS}",)),
    # Older names of object counts.
    "configmaps": frozenset(("configmaps", "count/configmaps")),
    "secrets": frozenset(("secrets", "count/secrets")),
    "resourcequotas": frozenset(("resourcequotas", "count/resourcequotas")),
    "replicationcontrollers": frozenset(("replicationcontrollers", "count/replicationcontrollers")),
}
_BY_CLASS = tuple(
    f".storageclass.storage.k8s.io/{name}" for name in (VOLUME_CLAIMS, "requests.storage")
)
_BY_DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices"
# The most devices that one request can be given.
_ALL_DEVICES = 32
_ONE = Quantity(10**9)


def counted(storage: str) -> bool:
    """Whether a resource is more than an object count to quotas."""
    return storage in ("pods", "services", VOLUME_CLAIMS, CLAIMS)


def matching(storage: str, names: Iterable[str]) -> list[str]:
    """Those names of a quota that objects of a resource count against."""
    known = _NAMES.get(storage) or (f"count/{storage}",)
    return [name for name in names if name in known or _matches(storage, name)]


def _matches(storage: str, name: str) -> bool:
    if storage == "pods":
        return name.startswith(("hugepages-", "requests.hugepages-")) or (
            name.startswith("requests.") and "/" in name and "kubernetes.io/" not in name
        )
    if storage == VOLUME_CLAIMS:
        return name.endswith(_BY_CLASS)
    return storage == CLAIMS and name.endswith(_BY_DEVICE_CLASS)


def resources(names: Iterable[str]) -> set[str]:
    """The storage keys whose objects have to be known to say what is used of these names."""
    found: set[str] = set()
    for name in names:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
            continue
        for storage in _NAMES:
            if matching(storage, (name,)):
                found.add(storage)
    return found - IGNORED


# -- what an object uses


def usage(storage: str, obj: Obj, now: datetime) -> Amounts:
    """What one object uses, under every name a quota may give it."""
    if storage == "pods":
        return _pod(obj, now)
    if storage == "services":
        return _service(obj)
    if storage == VOLUME_CLAIMS:
        return _volume_claim(obj)
    if storage == CLAIMS:
        return _claim(obj)
    return dict.fromkeys(_NAMES.get(storage) or (f"count/{storage}",), _ONE)


def _pod(pod: Obj, now: datetime) -> Amounts:
    used: Amounts = {"count/pods": _ONE}
    if _is_live(pod, now):
        used.update(
            _compute(
                pod_resources(pod, "requests", status=True),
                pod_resources(pod, "limits", status=True),
            )
        )
    return used


def _is_live(pod: Obj, now: datetime) -> bool:
    """False for a pod that has ended, or that should have by now."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return False
    meta = pod["metadata"]
    deleted, grace = meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds")
    if deleted is None or grace is None:
        return True
    return now <= parse_time(deleted) + timedelta(seconds=grace)


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    used: Amounts = {"pods": _ONE}
    for name in ("cpu", "memory", "ephemeral-storage"):
        if name in requests:
            used[name] = used[f"requests.{name}"] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if name.startswith("hugepages-"):
            used[name] = used[f"requests.{name}"] = amount
        elif is_extended(name) or name.startswith("deviceclass.resource.kubernetes.io/"):
            used[f"requests.{name}"] = amount
    return used


def _count(number: int) -> Quantity:
    return Quantity(number * 10**9)


def _service(service: Obj) -> Amounts:
    spec = service.get("spec") or {}
    ports = spec.get("ports") or ()
    kind = spec.get("type")
    node_ports = 0
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        node_ports = sum(1 for port in ports if port.get("nodePort"))
    elif kind in ("NodePort", "LoadBalancer"):
        node_ports = len(ports)
    return {
        "count/services": _ONE,
        "services": _ONE,
        "services.loadbalancers": _count(1 if kind == "LoadBalancer" else 0),
        "services.nodeports": _count(node_ports),
    }


def _volume_claim(claim: Obj) -> Amounts:
    spec, meta = claim.get("spec") or {}, claim["metadata"]
    used: Amounts = {VOLUME_CLAIMS: _ONE, f"count/{VOLUME_CLAIMS}": _ONE}
    annotated = (meta.get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    name = annotated if annotated is not None else spec.get("storageClassName")
    if name:
        used[name + _BY_CLASS[0]] = _ONE
    asked = amounts((spec.get("resources") or {}).get("requests")).get("storage")
    if asked is None:
        return used
    given = amounts((claim.get("status") or {}).get("allocatedResources")).get("storage")
    if given is not None and given > asked:
        asked = given
    if asked.nanos % 10**9:
        asked = Quantity(asked.value * 10**9, asked.format)
    used["requests.storage"] = asked
    if name:
        used[name + _BY_CLASS[1]] = asked
    return used


def _claim(claim: Obj) -> Amounts:
    used: Amounts = {f"count/{CLAIMS}": _ONE}
    devices = (claim.get("spec") or {}).get("devices") or {}
    for request in devices.get("requests") or ():
        alternatives = request.get("firstAvailable")
        worst: dict[str, int] = {}
        for one in alternatives or (request.get("exactly") or request,):
            name = one.get("deviceClassName", "") + _BY_DEVICE_CLASS
            mode = one.get("allocationMode")
            number = {"ExactCount": one.get("count", 1), "All": _ALL_DEVICES}.get(mode, 0)
            worst[name] = max(worst.get(name, 0), number)
        for name, number in worst.items():
            used[name] = used[name] + _count(number) if name in used else _count(number)
    return used


def missing(pod: Obj, names: Iterable[str]) -> str:
    """What containers would have to specify for a quota on these names; "" for nothing.

    A pod with resources of its own need not.
    """
    required = _MANDATORY.intersection(names)
    spec = pod["spec"]
    own = spec.get("resources") or {}
    if not required or any(_pod_level(own.get(key)) for key in ("requests", "limits")):
        return ""
    lacking: dict[str, set[str]] = {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        given = container.get("resources") or {}
        has = _compute(amounts(given.get("requests")), amounts(given.get("limits")))
        for name in required.difference(has):
            lacking.setdefault(name, set()).add(container["name"])
    if not lacking:
        return ""
    told = [f"{name} for: {','.join(sorted(lacking[name]))}" for name in sorted(lacking)]
    return f"must specify {'; '.join(told)}"


def _pod_level(given: dict[str, str] | None) -> bool:
    return any(n in ("cpu", "memory") or n.startswith("hugepages-") for n in given or ())


# -- scopes


def in_scope(storage: str, quota: Obj, obj: Obj) -> bool:
    """Whether every scope of a quota covers the object; a quota without scopes covers all."""
    spec = quota.get("spec") or {}
    scopes: list[Obj] = [
        {"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()
    ]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_covers(storage, scope, obj) for scope in scopes)


def _covers(storage: str, scope: Obj, obj: Obj) -> bool:
    name = scope.get("scopeName")
    if storage == VOLUME_CLAIMS:
        return name == "VolumeAttributesClass" and _selects(scope, _attributes_classes(obj))
    if storage != "pods":
        return False
    spec = obj["spec"]
    if name == "Terminating":
        return is_terminating(obj)
    if name == "NotTerminating":
        return not is_terminating(obj)
    if name == "BestEffort":
        return qos_class(spec) == "BestEffort"
    if name == "NotBestEffort":
        return qos_class(spec) != "BestEffort"
    if name == "PriorityClass":
        return _selects(scope, [spec.get("priorityClassName")])
    return name == "CrossNamespacePodAffinity" and any(map(_crosses, _affinity_terms(spec)))


def _selects(scope: Obj, classes: list[str | None]) -> bool:
    """Whether a scope selects by class an object that has (or may come to have) these."""
    named = [c for c in classes if c]
    operator, values = scope.get("operator"), scope.get("values") or ()
    if operator == "Exists":
        return bool(named)
    if operator == "DoesNotExist":
        return not named
    if operator == "In":
        return any(c in values for c in named)
    return not named or any(c not in values for c in named)


def _attributes_classes(claim: Obj) -> list[str | None]:
    status = claim.get("status") or {}
    return [
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    ]


def is_terminating(pod: Obj) -> bool:
    """Whether a pod ends by itself: it has a deadline."""
    return pod["spec"].get("activeDeadlineSeconds") is not None


def _affinity_terms(spec: Obj) -> Iterator[Obj]:
    affinity = spec.get("affinity") or {}
    for key in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(key) or {}
        yield from rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}


def _crosses(term: Obj) -> bool:
    return bool(term.get("namespaces")) or term.get("namespaceSelector") is not None


# -- what is used in all


def tally(quota: Obj, objects: Callable[[str], Iterable[Obj]], now: datetime) -> dict[str, str]:
    """``status.used`` of a quota: for each name of ``spec.hard`` that anything counts against.

    ``objects`` gives the objects of a storage key in the quota's namespace, nothing for
    resources that do not exist.
    """
    hard = ((quota.get("spec") or {}).get("hard")) or {}
    total: Amounts = {}
    for storage in sorted(resources(hard)):
        names = matching(storage, hard)
        for name in names:
            total.setdefault(name, Quantity(0))
        for obj in objects(storage):
            if not in_scope(storage, quota, obj):
                continue
            used = usage(storage, obj, now)
            for name in names:
                if name in used:
                    total[name] = total[name] + used[name]
    return {name: str(total[name]) for name in sorted(total)}
