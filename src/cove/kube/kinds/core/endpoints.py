"""Endpoints."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import endpoint_ip, legacy_ip, name_errors
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["Endpoints"]

Errors = list[FieldError]
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def _address(errors: Errors, path: str, address: Obj) -> None:
    ip = address.get("ip") or ""
    legacy_ip(errors, f"{path}.ip", ip)
    if address.get("hostname"):
        name_errors(errors, f"{path}.hostname", address["hostname"], names.is_dns1123_label)
    node = address.get("nodeName")
    if node is not None:
        name_errors(errors, f"{path}.nodeName", node, names.is_dns1123_subdomain)
    endpoint_ip(errors, f"{path}.ip", ip)


def _port(errors: Errors, path: str, port: Obj, *, named: bool) -> None:
    name = port.get("name")
    if named and not name:
        errors.append(fe.required(f"{path}.name"))
    elif name:
        name_errors(errors, f"{path}.name", name, names.is_dns1123_label)
    number = port.get("port") or 0
    errors += [fe.invalid(f"{path}.port", number, m) for m in names.is_port_number(number)]
    protocol = port.get("protocol")
    if not protocol:
        errors.append(fe.required(f"{path}.protocol"))
    elif protocol not in _PROTOCOLS:
        errors.append(fe.not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    if port.get("appProtocol") is not None:
        name_errors(errors, f"{path}.appProtocol", port["appProtocol"], names.is_qualified_name)


class Endpoints(Kind):
    """Where a Service's pods are: the older form."""

    allow_create_on_update = True

    def default(self, obj: Obj) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate_create(self, obj: Obj) -> list[FieldError]:
        errors: Errors = []
        for i, subset in enumerate(obj.get("subsets") or ()):
            path = f"subsets[{i}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                errors.append(fe.required(path, "must specify `addresses` or `notReadyAddresses`"))
            for key in ("addresses", "notReadyAddresses"):
                for n, address in enumerate(subset.get(key) or ()):
                    _address(errors, f"{path}.{key}[{n}]", address)
            ports = subset.get("ports") or ()
            for n, port in enumerate(ports):
                _port(errors, f"{path}.ports[{n}]", port, named=len(ports) > 1)
        return errors

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        if obj.get("subsets") == old.get("subsets"):
            return []
        return self.validate_create(obj)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        from cove.kube.kinds._podspec.warnings import ip_warnings

        return [
            text
            for i, subset in enumerate(obj.get("subsets") or ())
            for key in ("addresses", "notReadyAddresses")
            for n, address in enumerate(subset.get(key) or ())
            for text in ip_warnings(f"subsets[{i}].{key}[{n}].ip", address.get("ip") or "")
        ]

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), _cell(obj.get("subsets") or []), age(obj, now)]


def _cell(subsets: list[Obj]) -> str:
    """``10.0.0.1:80,10.0.0.2:80 + 2 more...``: three at most."""
    if not subsets:
        return "<none>"
    shown: list[str] = []
    count = 0
    for subset in subsets:
        addresses = [a.get("ip") or "" for a in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            pairs = addresses
        else:
            pairs = [_join(a, p.get("port") or 0) for p in ports for a in addresses]
        count += len(pairs)
        shown += pairs[: max(0, 3 - len(shown))]
    text = ",".join(shown)
    return f"{text} + {count - 3} more..." if count > 3 else text


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
