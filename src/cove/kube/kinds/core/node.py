"""Node.  Source: https://kubernetes.io/docs/concepts/architecture/nodes/"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import dual_stack, legacy_cidr, name_errors
from cove.kube.kinds._gojson import internal
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.affinity import taint_effect
from cove.kube.kinds._podspec.resources import quantity_value
from cove.kube.kinds._table import age

__all__ = ["Node"]

Errors = list[FieldError]
_ROLE = "node-role.kubernetes.io/"
_CIDR = 'node updates may not change podCIDR except from "" to valid'


def _taints(errors: Errors, taints: list[Obj]) -> None:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        # Upstream hangs taints under metadata.
        at = f"metadata.taints[{i}]"
        key, value, effect = (taint.get(k) or "" for k in ("key", "value", "effect"))
        name_errors(errors, f"{at}.key", key, names.is_label_key)
        faults = names.is_label_value(value)
        if faults:
            errors.append(fe.invalid(f"{at}.value", value, ";".join(faults)))
        taint_effect(errors, f"{at}.effect", effect)
        if (key, effect) in seen:
            twice = fe.duplicate(at, internal("core.Taint", taint))
            errors.append(
                twice._replace(text=f"{twice.text}: taints must be unique by key and effect pair")
            )
        seen.add((key, effect))


def _resources(errors: Errors, status: Obj) -> None:
    for key in ("capacity", "allocatable"):
        for name, amount in sorted((status.get(key) or {}).items()):
            quantity_value(errors, f"status.{key}.{name}", name, amount)


class Node(Kind):
    """A machine that runs pods."""

    status = True
    empty_status = MappingProxyType(
        {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": dict.fromkeys(
                (
                    "machineID",
                    "systemUUID",
                    "bootID",
                    "kernelVersion",
                    "osImage",
                    "containerRuntimeVersion",
                    "kubeletVersion",
                    "kubeProxyVersion",
                    "operatingSystem",
                    "architecture",
                ),
                "",
            ),
        }
    )
    selectable = MappingProxyType(
        {
            "spec.unschedulable": lambda o: (
                "true" if (o.get("spec") or {}).get("unschedulable") else "false"
            )
        }
    )

    def default(self, obj: Obj) -> None:
        status = obj.get("status")
        if status and status.get("allocatable") is None and status.get("capacity") is not None:
            status["allocatable"] = dict(status["capacity"])
        spec = obj.get("spec") or {}
        cidr, cidrs = spec.get("podCIDR"), spec.get("podCIDRs")
        # Two names of one thing; the older one wins where they differ.
        if cidr and (not cidrs or cidrs[0] != cidr):
            spec["podCIDRs"] = [cidr]
        elif cidrs and not cidr:
            spec["podCIDR"] = cidrs[0]

    def prepare_create(self, obj: Obj) -> None:
        # Kubelets register nodes with their status.
        spec = obj.get("spec") or {}
        spec.pop("configSource", None)
        (obj.get("status") or {}).pop("config", None)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        _taints(errors, spec.get("taints") or [])
        _resources(errors, status)
        cidrs = spec.get("podCIDRs") or []
        for i, cidr in enumerate(cidrs):
            legacy_cidr(errors, f"spec.podCIDRs[{i}]", cidr)
        if len(cidrs) > 1 and (not dual_stack(cidrs) or len(cidrs) > 2):
            errors.append(
                fe.invalid(
                    "spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"
                )
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        spec, before, status = obj.get("spec") or {}, old.get("spec") or {}, obj.get("status") or {}
        _resources(errors, status)
        seen: list[Obj] = []
        for i, address in enumerate(status.get("addresses") or ()):
            if address in seen:
                errors.append(
                    fe.duplicate(f"status.addresses[{i}]", internal("core.NodeAddress", address))
                )
            seen.append(address)
        old_cidrs, cidrs = before.get("podCIDRs") or [], spec.get("podCIDRs") or []
        if old_cidrs:
            if len(old_cidrs) != len(cidrs):
                errors.append(fe.forbidden("spec.podCIDRs", _CIDR))
            else:
                errors += [
                    fe.forbidden("spec.podCIDRs", _CIDR)
                    for a, b in zip(old_cidrs, cidrs, strict=True)
                    if a != b
                ]
        provider = before.get("providerID")
        if provider and provider != spec.get("providerID"):
            errors.append(
                fe.forbidden(
                    "spec.providerID",
                    'node updates may not change providerID except from "" to valid',
                )
            )
        _taints(errors, spec.get("taints") or [])
        if (spec.get("externalID") or "") != (before.get("externalID") or ""):
            errors.append(fe.forbidden("spec.externalID", "may not be updated"))
        return errors

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self.validate_update(obj, old)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        spec = obj.get("spec") or {}
        if spec.get("configSource") is not None:
            out.append("spec.configSource: the feature is removed in v1.24+")
        if spec.get("externalID"):
            out.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        return out

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
        ready = [c for c in status.get("conditions") or () if c.get("type") == "Ready"]
        states = ["Unknown"]
        if ready:
            states = ["Ready" if ready[-1].get("status") == "True" else "NotReady"]
        if spec.get("unschedulable"):
            states.append("SchedulingDisabled")
        roles: set[str] = set()
        for key, value in (meta.get("labels") or {}).items():
            if key.startswith(_ROLE):
                roles.add(key.removeprefix(_ROLE))
            elif key == "kubernetes.io/role":
                roles.add(value)
        addresses: dict[str, str] = {}
        for address in status.get("addresses") or ():
            addresses.setdefault(address.get("type") or "", address.get("address") or "")
        info = status.get("nodeInfo") or {}
        return [
            meta.get("name", ""),
            ",".join(states),
            ",".join(sorted(roles - {""})) or "<none>",
            age(obj, now),
            info.get("kubeletVersion") or "",
            addresses.get("InternalIP", "<none>"),
            addresses.get("ExternalIP", "<none>"),
            info.get("osImage") or "<unknown>",
            info.get("kernelVersion") or "<unknown>",
            info.get("containerRuntimeVersion") or "<unknown>",
        ]
