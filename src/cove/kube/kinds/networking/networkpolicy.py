"""NetworkPolicy.  Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/"""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import is_cidr, legacy_cidr, name_errors, selector
from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._podspec.warnings import cidr_warnings
from cove.kube.kinds._table import age
from cove.kube.labels import format_document

__all__ = ["NetworkPolicy"]

Errors = list[FieldError]
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def _port(errors: Errors, path: str, item: Obj) -> None:
    protocol, port, end = item.get("protocol"), item.get("port"), item.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(fe.not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    if port is None:
        if end is not None:
            errors.append(
                fe.invalid(
                    f"{path}.endPort", end, "may not be specified when `port` is not specified"
                )
            )
    elif isinstance(port, int):
        errors += [fe.invalid(f"{path}.port", port, m) for m in names.is_port_number(port)]
        if end is not None:
            if end < port:
                errors.append(
                    fe.invalid(f"{path}.endPort", port, "must be greater than or equal to `port`")
                )
            errors += [fe.invalid(f"{path}.endPort", end, m) for m in names.is_port_number(end)]
    else:
        if end is not None:
            errors.append(
                fe.invalid(
                    f"{path}.endPort", end, "may not be specified when `port` is non-numeric"
                )
            )
        name_errors(errors, f"{path}.port", port, names.is_port_name)


def _block(errors: Errors, path: str, block: Obj, known: set[str]) -> None:
    cidr = block.get("cidr") or ""
    if not cidr:
        errors.append(fe.required(f"{path}.cidr"))
        return
    if not legacy_cidr(errors, f"{path}.cidr", cidr, known):
        return
    outer = ipaddress.ip_network(cidr, strict=False)
    for i, text in enumerate(block.get("except") or ()):
        at = f"{path}.except[{i}]"
        if not legacy_cidr(errors, at, text, known):
            continue
        inner = ipaddress.ip_network(text, strict=False)
        inside = (
            inner.version == outer.version
            and inner.network_address in outer
            and outer.prefixlen < inner.prefixlen
        )
        if not inside:
            errors.append(fe.invalid(at, text, "must be a strict subset of `cidr`"))


def _peer(errors: Errors, path: str, peer: Obj, known: set[str]) -> None:
    count = 0
    for key in ("podSelector", "namespaceSelector"):
        if peer.get(key) is not None:
            count += 1
            selector(errors, f"{path}.{key}", peer[key])
    block = peer.get("ipBlock")
    if block is not None:
        count += 1
        _block(errors, f"{path}.ipBlock", block, known)
    if not count:
        errors.append(fe.required(path, "must specify a peer"))
    elif block is not None and count > 1:
        errors.append(fe.forbidden(path, "may not specify both ipBlock and another peer"))


def _cidrs(obj: Obj | None) -> set[str]:
    spec = (obj or {}).get("spec") or {}
    found: set[str] = set()
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction) or ():
            for peer in rule.get(side) or ():
                block = peer.get("ipBlock") or {}
                found |= {block.get("cidr") or "", *(block.get("except") or ())}
    return found


class NetworkPolicy(Kind):
    """Who may talk with pods."""

    generation = True

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or ():
                for item in rule.get("ports") or ():
                    if item.get("protocol") is None:
                        item["protocol"] = "TCP"
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else ())]

    def validate_create(self, obj: Obj) -> list[FieldError]:
        return self._validate(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        return self._validate(obj, old)

    def _validate(self, obj: Obj, old: Obj | None) -> list[FieldError]:
        errors: Errors = []
        spec, known = obj.get("spec") or {}, _cidrs(old)
        selector(errors, "spec.podSelector", spec.get("podSelector"))
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for i, rule in enumerate(spec.get(direction) or ()):
                path = f"spec.{direction}[{i}]"
                for n, item in enumerate(rule.get("ports") or ()):
                    _port(errors, f"{path}.ports[{n}]", item)
                for n, peer in enumerate(rule.get(side) or ()):
                    _peer(errors, f"{path}.{side}[{n}]", peer, known)
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            errors.append(
                fe.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
            )
            return errors
        for i, kind in enumerate(types):
            if kind not in ("Ingress", "Egress"):
                errors.append(
                    fe.not_supported(f"spec.policyTypes[{i}]", kind, ("Ingress", "Egress"))
                )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        spec = obj.get("spec") or {}
        out: list[str] = []
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for i, rule in enumerate(spec.get(direction) or ()):
                for n, peer in enumerate(rule.get(side) or ()):
                    block = peer.get("ipBlock")
                    if block is None:
                        continue
                    at = f"spec.{direction}[{i}].{side}[{n}].ipBlock"
                    for path, cidr in (
                        (f"{at}.cidr", block.get("cidr") or ""),
                        *(
                            (f"{at}.except[{e}]", c)
                            for e, c in enumerate(block.get("except") or ())
                        ),
                    ):
                        if not is_cidr(cidr):
                            out += cidr_warnings(path, cidr)
        return out

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        document = (obj.get("spec") or {}).get("podSelector") or {}
        return [obj["metadata"].get("name", ""), format_document(document), age(obj, now)]
