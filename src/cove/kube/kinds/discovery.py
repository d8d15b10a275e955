"""EndpointSlice.  Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import endpoint_ip, immutable, legacy_ip, name_errors, parse_ip
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.warnings import ip_warnings
from cove.kube.kinds._table import age

__all__ = ["EndpointSlice"]

Errors = list[FieldError]
_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


class EndpointSlice(Kind):
    """Some of the places where a Service's pods are."""

    generation = True

    def default(self, obj: Obj) -> None:
        for item in obj.get("ports") or ():
            if item.get("name") is None:
                item["name"] = ""
            if item.get("protocol") is None:
                item["protocol"] = "TCP"

    def generation_changed(self, obj: Obj, old: Obj) -> bool:
        # Labels count: consumers find slices by them.
        return (obj["metadata"].get("labels") or {}) != (
            old["metadata"].get("labels") or {}
        ) or any(
            (obj.get(key) or None) != (old.get(key) or None)
            for key in ("addressType", "endpoints", "ports")
        )

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        kind = obj.get("addressType") or ""
        if not kind:
            errors.append(fe.required("addressType"))
        elif kind not in _TYPES:
            errors.append(fe.not_supported("addressType", kind, _TYPES))
        if not errors:
            self._endpoints(errors, obj.get("endpoints") or [], kind)
            self._ports(errors, obj.get("ports") or [])
        return errors

    def _endpoints(self, errors: Errors, endpoints: list[Obj], kind: str) -> None:
        if len(endpoints) > 1000:
            errors.append(fe.too_many("endpoints", len(endpoints), 1000))
            return
        for i, endpoint in enumerate(endpoints):
            path, addresses = f"endpoints[{i}]", endpoint.get("addresses") or []
            if not addresses:
                errors.append(fe.required(f"{path}.addresses", "must contain at least 1 address"))
            elif len(addresses) > 100:
                errors.append(fe.too_many(f"{path}.addresses", len(addresses), 100))
            else:
                for n, address in enumerate(addresses):
                    _address(errors, path, n, address, kind)
            if endpoint.get("nodeName") is not None:
                name_errors(
                    errors, f"{path}.nodeName", endpoint["nodeName"], names.is_dns1123_subdomain
                )
            topology = endpoint.get("deprecatedTopology") or {}
            if len(topology) > 16:
                errors.append(fe.too_many(f"{path}.deprecatedTopology", len(topology), 16))
            if endpoint.get("hostname") is not None:
                name_errors(
                    errors, f"{path}.hostname", endpoint["hostname"], names.is_dns1123_label
                )
            hints = endpoint.get("hints") or {}
            for key in ("forZones", "forNodes"):
                _hints(errors, f"{path}.hints.{key}", hints.get(key) or [])

    def _ports(self, errors: Errors, ports: list[Obj]) -> None:
        if len(ports) > 20000:
            errors.append(fe.too_many("ports", len(ports), 20000))
            return
        seen: set[str] = set()
        for i, item in enumerate(ports):
            path, name = f"ports[{i}]", item.get("name") or ""
            if name:
                name_errors(errors, f"{path}.name", name, names.is_dns1123_label)
            if name in seen:
                errors.append(fe.duplicate(f"{path}.name", name))
            seen.add(name)
            protocol = item.get("protocol")
            if not protocol:
                errors.append(fe.required(f"{path}.protocol"))
            elif protocol not in _PROTOCOLS:
                errors.append(fe.not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
            if item.get("appProtocol") is not None:
                name_errors(
                    errors, f"{path}.appProtocol", item["appProtocol"], names.is_qualified_name
                )

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors = self.validate_create(obj)
        immutable(errors, "addressType", obj.get("addressType"), old.get("addressType"))
        return (
            errors[-1:] if errors and old.get("addressType") != obj.get("addressType") else errors
        )

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if obj.get("addressType") == "FQDN":
            return ["spec.addressType: FQDN endpoints are deprecated"]
        return [
            text
            for i, endpoint in enumerate(obj.get("endpoints") or ())
            for n, address in enumerate(endpoint.get("addresses") or ())
            for text in ip_warnings(f"spec.endpoints[{i}].addresses[{n}]", address)
        ]

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        ports = [
            str(p["port"]) if p.get("port") is not None else "*" for p in obj.get("ports") or ()
        ]
        if not ports:
            ports_cell = "<unset>"
        else:
            ports_cell = _some(ports, len(ports))
        addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
        return [
            obj["metadata"].get("name", ""),
            obj.get("addressType") or "",
            ports_cell,
            _some(addresses, len(addresses)) if addresses else "<unset>",
            age(obj, now),
        ]


def _some(items: list[str], count: int) -> str:
    text = ",".join(items[:3])
    return f"{text} + {count - 3} more..." if count > 3 else text


def _address(errors: Errors, path: str, n: int, address: str, kind: str) -> None:
    at = f"{path}.addresses"
    if kind == "FQDN":
        name_errors(errors, f"{at}[{n}]", address, names.is_fully_qualified_domain_name)
        return
    if not legacy_ip(errors, f"{at}[{n}]", address):
        return
    parsed = parse_ip(address)
    if kind == "IPv4" and parsed is not None and parsed.version != 4:
        errors.append(fe.invalid(at, address, "must be an IPv4 address"))
        return
    if kind == "IPv6" and parsed is not None and parsed.version != 6:
        errors.append(fe.invalid(at, address, "must be an IPv6 address"))
        return
    endpoint_ip(errors, f"{at}[{n}]", address)


def _hints(errors: Errors, path: str, hints: list[Obj]) -> None:
    if len(hints) > 8:
        errors.append(fe.too_many(path, len(hints), 8))
        return
    seen: set[str] = set()
    for i, hint in enumerate(hints):
        name = hint.get("name") or ""
        at = f"{path}[{i}].name"
        if name in seen:
            errors.append(fe.duplicate(at, name))
        else:
            seen.add(name)
        name_errors(errors, at, name, names.is_label_value)
