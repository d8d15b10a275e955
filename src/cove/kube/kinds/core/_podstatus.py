"""Validation of a Pod's status.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
"""

from __future__ import annotations

from collections.abc import Sequence

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import IMMUTABLE, dual_stack, legacy_ip, name_errors
from cove.kube.kinds._kind import Obj

__all__ = ["validate_pod_status"]

Errors = list[FieldError]
_SYSTEM = ("PodScheduled", "Ready", "Initialized")


def _restarts(container: Obj, spec: Obj, code: int) -> bool:
    """Whether the node would start a container again that ended with this code."""
    policy = container.get("restartPolicy")
    if policy is None:
        policy = spec.get("restartPolicy")
    else:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            if (code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
                return True
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _transitions(
    errors: Errors, path: str, new: Sequence[Obj], old: Sequence[Obj], spec: Obj, kind: str
) -> None:
    if kind == "initContainers" and spec.get("restartPolicy") == "Always":
        return
    known = {c.get("name"): c for c in spec.get(kind) or ()}
    now = {s.get("name"): s for s in new}
    for i, status in enumerate(old):
        ended = (status.get("state") or {}).get("terminated")
        name = status.get("name")
        if ended is None or name not in now:
            continue
        if (now[name].get("state") or {}).get("terminated") is not None:
            continue
        code, container = ended.get("exitCode") or 0, known.get(name)
        if kind == "containers":
            allowed = container is not None and _restarts(container, spec, code)
        elif kind == "initContainers":
            allowed = (code != 0 and spec.get("restartPolicy") == "OnFailure") or (
                container is not None and container.get("restartPolicy") == "Always"
            )
        else:
            allowed = False
        if not allowed:
            errors.append(
                fe.forbidden(
                    f"{path}[{i}].state", "may not be transitioned to non-terminated state"
                )
            )


def _addresses(errors: Errors, key: str, status: Obj, old: Obj) -> None:
    items = status.get(key) or []
    if not items:
        return
    path = f"status.{key}"
    if key == "hostIPs" and (status.get("hostIP") or "") != (items[0].get("ip") or ""):
        errors.append(
            fe.invalid(f"{path}[0].ip", items[0].get("ip") or "", "must be equal to `hostIP`")
        )
    existing = [i.get("ip") for i in old.get(key) or ()]
    addresses = [i.get("ip") or "" for i in items]
    for i, address in enumerate(addresses):
        legacy_ip(errors, f"{path}[{i}]", address, [e for e in existing if e])
    if len(items) > 1 and (not dual_stack(addresses) or len(items) > 2):
        errors.append(
            fe.invalid(
                path,
                [{"IP": a} for a in addresses],
                "may specify no more than one IP for each IP family",
            )
        )


def validate_pod_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """What is wrong with a new status, given the one before."""
    status, before = obj.get("status") or {}, old.get("status") or {}
    spec = old.get("spec") or {}
    for i, condition in enumerate(status.get("conditions") or ()):
        generation = condition.get("observedGeneration") or 0
        if generation < 0:
            errors.append(
                fe.invalid(
                    f"status.conditions[{i}].observedGeneration",
                    generation,
                    "must be a non-negative integer",
                )
            )
        kind = condition.get("type") or ""
        if kind not in _SYSTEM:
            name_errors(errors, f"status.conditions[{i}].Type", kind, names.is_qualified_name)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        name_errors(errors, "status.nominatedNodeName", nominated, names.is_dns1123_subdomain)
        if spec.get("nodeName"):
            errors.append(
                fe.forbidden(
                    "status.nominatedNodeName",
                    "may not be set on pods that are already bound to a node",
                )
            )
    generation = status.get("observedGeneration") or 0
    if generation < 0:
        errors.append(
            fe.invalid("status.observedGeneration", generation, "must be a non-negative integer")
        )
    qos = status.get("qosClass") or ""
    if qos != (before.get("qosClass") or ""):
        errors.append(fe.invalid("status.qosClass", qos, IMMUTABLE))
    for key, kind in (
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", "ephemeralContainers"),
    ):
        _transitions(
            errors, f"status.{key}", status.get(key) or (), before.get(key) or (), spec, kind
        )
    claims = {c.get("name") for c in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for i, item in enumerate(status.get("resourceClaimStatuses") or ()):
        name = item.get("name") or ""
        path = f"status.resourceClaimStatuses[{i}].name"
        if name not in claims:
            errors.append(
                fe.invalid(path, name, "must match the name of an entry in `spec.resourceClaims`")
            )
        if name in seen:
            errors.append(fe.duplicate(path, name))
        seen.add(name)
    _addresses(errors, "podIPs", status, before)
    _addresses(errors, "hostIPs", status, before)
