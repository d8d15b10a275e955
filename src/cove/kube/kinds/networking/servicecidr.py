"""IPAddress and ServiceCIDR.  Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects"""

from __future__ import annotations

import ipaddress
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import dual_stack, immutable, is_cidr, is_ip, name_errors
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["IPAddress", "ServiceCIDR"]


class IPAddress(Kind):
    """An address of a Service that is taken."""

    def validate_name(self, name: str) -> list[str]:
        faults = is_ip(name)
        if faults:
            return faults
        canonical = str(ipaddress.ip_address(name))
        if canonical != name:
            return [f'must be in canonical form ("{canonical}")']
        return []

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        reference = (obj.get("spec") or {}).get("parentRef")
        path = "spec.parentRef"
        if reference is None:
            errors.append(fe.required(path))
            return errors
        group = reference.get("group")
        if group:
            name_errors(errors, f"{path}.group", group, names.is_dns1123_subdomain)
        resource = reference.get("resource") or ""
        if not resource:
            errors.append(fe.required(f"{path}.resource"))
        else:
            name_errors(errors, f"{path}.resource", resource, names.is_path_segment_name)
        name = reference.get("name") or ""
        if not name:
            errors.append(fe.required(f"{path}.name"))
        else:
            name_errors(errors, f"{path}.name", name, names.is_path_segment_name)
        if reference.get("namespace"):
            name_errors(
                errors, f"{path}.namespace", reference["namespace"], names.is_path_segment_name
            )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        immutable(
            errors,
            "spec.parentRef",
            new.get("parentRef"),
            before.get("parentRef"),
            "networking.ParentReference",
        )
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        reference, told = (obj.get("spec") or {}).get("parentRef"), "<none>"
        if reference is not None:
            told = (reference.get("resource") or "").lower()
            if reference.get("group"):
                told += f".{reference['group'].lower()}"
            if reference.get("namespace"):
                told += f"/{reference['namespace']}"
            told += f"/{reference.get('name') or ''}"
        return [obj["metadata"].get("name", ""), told, age(obj, now)]


class ServiceCIDR(Kind):
    """Where Services get their addresses."""

    status = True
    empty_status = MappingProxyType({})

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        cidrs = (obj.get("spec") or {}).get("cidrs") or []
        path = "spec.cidrs"
        if not cidrs:
            errors.append(fe.required(path, "at least one CIDR required"))
            return errors
        if len(cidrs) > 2:
            errors.append(fe.invalid(path, cidrs, "may only hold up to 2 values"))
            return errors
        if len(cidrs) > 1 and not dual_stack(cidrs):
            errors.append(
                fe.invalid(
                    path,
                    cidrs,
                    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                )
            )
        for i, cidr in enumerate(cidrs):
            faults = is_cidr(cidr)
            if faults:
                errors.append(fe.invalid(f"{path}[{i}]", cidr, faults[0]))
                continue
            canonical = str(ipaddress.ip_network(cidr, strict=False))
            if (
                ipaddress.ip_interface(cidr).ip
                != ipaddress.ip_network(cidr, strict=False).network_address
            ):
                errors.append(
                    fe.invalid(
                        f"{path}[{i}]", cidr, "must not have bits set beyond the prefix length"
                    )
                )
            elif canonical != cidr:
                errors.append(
                    fe.invalid(f"{path}[{i}]", cidr, f'must be in canonical form ("{canonical}")')
                )
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: list[FieldError] = []
        new, before = (((o.get("spec") or {}).get("cidrs") or []) for o in (obj, old))
        path = "spec.cidrs"
        if len(new) < len(before) or len(new) > 2 or (len(before) == len(new) and new != before):
            for i, cidr in enumerate(before):
                if i < len(new) and new[i] != cidr:
                    errors.append(fe.invalid(f"{path}[{i}]", new[i], "field is immutable"))
            if len(new) < len(before):
                errors.append(fe.invalid(path, new or None, "field is immutable"))
        elif len(new) > len(before) and before and new[0] != before[0]:
            errors.append(fe.invalid(f"{path}[0]", new[0], "field is immutable"))
        return errors

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        cidrs = (obj.get("spec") or {}).get("cidrs") or []
        return [obj["metadata"].get("name", ""), ",".join(cidrs), age(obj, now)]
