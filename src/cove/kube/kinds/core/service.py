"""Service.  Source: https://kubernetes.io/docs/concepts/services-networking/service/

Cluster IPs and node ports are allocated by the server, before this validation sees
the object; :func:`carry_over` and :func:`release` tell what an update keeps and what
a change of type lets go.
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import (
    dual_stack,
    endpoint_ip,
    legacy_cidr,
    legacy_ip,
    name_errors,
    parse_ip,
)
from cove.kube.kinds._checks import port as check_port
from cove.kube.kinds._kind import Kind, Obj, keep
from cove.kube.kinds._podspec.warnings import cidr_warnings, ip_warnings
from cove.kube.kinds._table import age, format_labels
from cove.kube.metadata import validate_labels

__all__ = [
    "Service",
    "carry_over",
    "externally_accessible",
    "is_headless",
    "needs_cluster_ip",
    "needs_health_port",
    "needs_node_port",
    "release",
]

Errors = list[FieldError]
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"


def needs_cluster_ip(spec: Obj) -> bool:
    """Every type but ExternalName."""
    return spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Obj) -> bool:
    """NodePort, and LoadBalancer unless it says no."""
    return spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer"
        and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def needs_health_port(spec: Obj) -> bool:
    """A LoadBalancer that keeps traffic on the node."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def externally_accessible(spec: Obj) -> bool:
    """Whether traffic may come from outside the cluster."""
    return spec.get("type") in ("LoadBalancer", "NodePort") or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def is_headless(spec: Obj) -> bool:
    """``clusterIP: None``."""
    return spec.get("clusterIPs") == ["None"]


def carry_over(spec: Obj, old: Obj) -> None:
    """What an update that says nothing about it keeps: addresses and ports (patchAllocatedValues)."""
    if needs_cluster_ip(old) and needs_cluster_ip(spec):
        if not spec.get("clusterIP"):
            keep(spec, old, "clusterIP")
        if not spec.get("clusterIPs") and spec.get("clusterIP") == old.get("clusterIP"):
            keep(spec, old, "clusterIPs")
    if needs_node_port(old) and needs_node_port(spec):
        used = {p.get("nodePort") for p in spec.get("ports") or () if p.get("nodePort")}
        known = {
            (p.get("protocol"), p.get("port")): p["nodePort"]
            for p in old.get("ports") or ()
            if p.get("nodePort") and p["nodePort"] not in used
        }
        for item in spec.get("ports") or ():
            if not item.get("nodePort"):
                number = known.pop((item.get("protocol"), item.get("port")), None)
                if number:
                    item["nodePort"] = number
    if needs_health_port(old) and needs_health_port(spec) and not spec.get("healthCheckNodePort"):
        keep(spec, old, "healthCheckNodePort")


def normalize_cluster_ips(spec: Obj, old: Obj | None) -> None:
    """clusterIP and clusterIPs[0] are one thing; the former is what old clients write."""
    ip, ips = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if old is None:
        if ip and not ips:
            spec["clusterIPs"] = [ip]
        return
    before, befores = old.get("clusterIP") or "", old.get("clusterIPs") or []
    if before and not ip and ips == befores:
        spec.pop("clusterIPs", None)
    elif before != ip and ips == befores:
        spec["clusterIPs"] = [ip]


def release(spec: Obj, old: Obj) -> None:
    """What a change of type makes meaningless goes, where it was not changed as well."""
    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        if all(spec.get(k) == old.get(k) for k in ("clusterIP", "clusterIPs")):
            for key in ("clusterIP", "clusterIPs"):
                spec.pop(key, None)
        for key in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(key) == old.get(key):
                spec.pop(key, None)
    node_port_types = ("NodePort", "LoadBalancer")
    if old.get("type") in node_port_types and spec.get("type") not in node_port_types:
        before = {p.get("nodePort") for p in old.get("ports") or ()}
        if all(p.get("nodePort") in before for p in spec.get("ports") or () if p.get("nodePort")):
            for item in spec.get("ports") or ():
                item.pop("nodePort", None)
    for needs, key in (
        (needs_health_port, "healthCheckNodePort"),
        (externally_accessible, "externalTrafficPolicy"),
        (needs_cluster_ip, "internalTrafficPolicy"),
        (lambda s: s.get("type") == "LoadBalancer", "allocateLoadBalancerNodePorts"),
        (lambda s: s.get("type") == "LoadBalancer", "loadBalancerClass"),
    ):
        if needs(old) and not needs(spec) and spec.get(key) == old.get(key):
            spec.pop(key, None)


class Service(Kind):
    """A stable address in front of pods."""

    status = True
    empty_status = MappingProxyType({"loadBalancer": {}})
    allow_create_on_update = True
    returns_deleted = True
    selectable = MappingProxyType(
        {
            "spec.clusterIP": lambda o: (o.get("spec") or {}).get("clusterIP") or "",
            "spec.type": lambda o: (o.get("spec") or {}).get("type") or "",
        }
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        affinity = spec.get("sessionAffinity")
        if not affinity:
            affinity = spec["sessionAffinity"] = "None"
        if affinity == "None":
            spec.pop("sessionAffinityConfig", None)
        elif affinity == "ClientIP":
            config = spec.get("sessionAffinityConfig") or {}
            if (config.get("clientIP") or {}).get("timeoutSeconds") is None:
                spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
        kind = spec.get("type")
        if not kind:
            kind = spec["type"] = "ClusterIP"
        for item in spec.get("ports") or ():
            if not item.get("protocol"):
                item["protocol"] = "TCP"
            if not item.get("targetPort"):
                item["targetPort"] = item.get("port") or 0
        if externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if spec.get("internalTrafficPolicy") is None and needs_cluster_ip(spec):
            spec["internalTrafficPolicy"] = "Cluster"
        if kind == "LoadBalancer":
            if spec.get("allocateLoadBalancerNodePorts") is None:
                spec["allocateLoadBalancerNodePorts"] = True
            for ingress in ((obj.get("status") or {}).get("loadBalancer") or {}).get(
                "ingress"
            ) or ():
                if ingress.get("ip") and ingress.get("ipMode") is None:
                    ingress["ipMode"] = "VIP"

    def prepare_update(self, obj: Obj, old: Obj) -> None:
        super().prepare_update(obj, old)
        carry_over(obj["spec"], old["spec"])
        normalize_cluster_ips(obj["spec"], old["spec"])
        release(obj["spec"], old["spec"])

    def validate_name(self, name: str) -> list[str]:
        return names.is_dns1123_label(name)

    def validate_create(self, obj: Obj) -> list[FieldError]:
        return _validate(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        spec, before = obj["spec"], old["spec"]
        if "ExternalName" not in (spec.get("type"), before.get("type")):
            _cluster_ips_kept(errors, spec, before)
            _families_kept(errors, spec, before)
        if spec.get("type") == before.get("type") == "LoadBalancer":
            own = spec.get("loadBalancerClass")
            if own != before.get("loadBalancerClass"):
                errors.append(fe.invalid("spec.loadBalancerClass", own, "may not change once set"))
        _load_balancer_class(errors, spec)
        if needs_health_port(before) and needs_health_port(spec):
            if spec.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
                errors.append(fe.forbidden("spec.healthCheckNodePort", "field is immutable"))
        return errors + _validate(obj, old)

    def validate_status(self, obj: Obj, old: Obj) -> list[FieldError]:
        errors: Errors = []
        path = "status.loadBalancer.ingress"
        ingresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        if ingresses and obj["spec"].get("type") != "LoadBalancer":
            errors.append(fe.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"))
            return errors
        before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        known = [i["ip"] for i in before if i.get("ip")]
        for i, ingress in enumerate(ingresses):
            at, ip, mode = f"{path}[{i}]", ingress.get("ip"), ingress.get("ipMode")
            if ip:
                legacy_ip(errors, f"{at}.ip", ip, known)
            if mode is None:
                if ip:
                    errors.append(fe.required(f"{at}.ipMode", "must be specified when `ip` is set"))
            elif not ip:
                errors.append(
                    fe.forbidden(f"{at}.ipMode", "may not be specified when `ip` is not set")
                )
            elif mode not in ("Proxy", "VIP"):
                errors.append(fe.not_supported(f"{at}.ipMode", mode, ("Proxy", "VIP")))
            host = ingress.get("hostname")
            if host:
                name_errors(errors, f"{at}.hostname", host, names.is_dns1123_subdomain)
                if parse_ip(host) is not None:
                    errors.append(
                        fe.invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address")
                    )
        return errors

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        spec, out = obj["spec"], []
        if _HINTS in (obj["metadata"].get("annotations") or ()):
            out.append(f"annotation {_HINTS} is deprecated, please use {_MODE} instead")
        ips = [i for i in spec.get("clusterIPs") or () if i != "None"]
        for i, ip in enumerate(ips):
            out += ip_warnings(f"spec.clusterIPs[{i}]", ip)
        kind, external = spec.get("type"), spec.get("externalIPs") or []
        if external:
            out.append(
                "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
            )
        if kind == "ClusterIP" and spec.get("clusterIP") == "None":
            if spec.get("loadBalancerIP"):
                out.append("spec.loadBalancerIP is ignored for headless services")
            if external:
                out.append("spec.externalIPs is ignored for headless services")
            if spec.get("sessionAffinity") == "ClientIP":
                out.append("spec.SessionAffinity is ignored for headless services")
        for i, ip in enumerate(external):
            out += ip_warnings(f"spec.externalIPs[{i}]", ip)
        if spec.get("loadBalancerIP"):
            out += ip_warnings("spec.loadBalancerIP", spec["loadBalancerIP"])
        for i, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
            out += cidr_warnings(f"spec.loadBalancerSourceRanges[{i}]", cidr)
        if kind == "ExternalName" and external:
            out.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        if kind != "ExternalName" and spec.get("externalName"):
            out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
        return out

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        spec = obj.get("spec") or {}
        ips = spec.get("clusterIPs") or []
        ports = ",".join(
            f"{p.get('port') or 0}"
            + (f":{p['nodePort']}" if p.get("nodePort") else "")
            + f"/{p.get('protocol') or ''}"
            for p in spec.get("ports") or ()
        )
        return [
            obj["metadata"].get("name", ""),
            spec.get("type") or "",
            ips[0] if ips else "<none>",
            _external(obj, spec),
            ports or "<none>",
            age(obj, now),
            format_labels(spec.get("selector")),
        ]


def _external(obj: Obj, spec: Obj) -> str:
    kind, ips = spec.get("type"), spec.get("externalIPs") or []
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(ips) or "<none>"
    if kind == "LoadBalancer":
        ingresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        given = {i.get("ip") or i.get("hostname") or "" for i in ingresses} - {""}
        return ",".join([*sorted(given), *ips]) or "<pending>"
    if kind == "ExternalName":
        return spec.get("externalName") or ""
    return "<unknown>"


def _load_balancer_class(errors: Errors, spec: Obj) -> None:
    own = spec.get("loadBalancerClass")
    if own is None:
        return
    if spec.get("type") == "LoadBalancer":
        name_errors(errors, "spec.loadBalancerClass", own, names.is_qualified_name)
    else:
        errors.append(
            fe.forbidden("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")
        )


_ONCE = "may not change once set"


def _cluster_ips_kept(errors: Errors, spec: Obj, old: Obj) -> None:
    if is_headless(spec) and is_headless(old):
        return
    new, before = spec.get("clusterIPs") or [], old.get("clusterIPs") or []
    path = "spec.clusterIPs"
    if len(new) == len(before):
        errors += [
            fe.invalid(f"{path}[{i}]", new, _ONCE) for i, ip in enumerate(before) if ip != new[i]
        ]
        return
    if len(before) > len(new):
        if not new:
            errors.append(fe.invalid(f"{path}[0]", None, "primary clusterIP can not be unset"))
        elif new[0] != before[0]:
            errors.append(fe.invalid(f"{path}[0]", new, _ONCE))
        if len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
            errors.append(
                fe.invalid(
                    "spec.ipFamilyPolicy",
                    spec.get("ipFamilyPolicy"),
                    "must be set to 'SingleStack' when releasing the secondary clusterIP",
                )
            )
    elif before and new[0] != before[0]:
        errors.append(fe.invalid(f"{path}[0]", new, _ONCE))


def _families_kept(errors: Errors, spec: Obj, old: Obj) -> None:
    if is_headless(spec) or is_headless(old):
        return
    new, before = spec.get("ipFamilies") or [], old.get("ipFamilies") or []
    path = "spec.ipFamilies[0]"
    if len(new) == len(before):
        errors += [fe.invalid(path, new, _ONCE) for a, b in zip(before, new, strict=True) if a != b]
        return
    ips = spec.get("clusterIPs") or []
    if len(before) > len(new):
        if not ips:
            errors.append(fe.invalid(path, new or None, "primary ipFamily can not be unset"))
        if new and new[0] != before[0]:
            errors.append(fe.invalid(path, ips, _ONCE))
        if len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
            errors.append(
                fe.invalid(
                    "spec.ipFamilyPolicy",
                    spec.get("ipFamilyPolicy"),
                    "must be set to 'SingleStack' when releasing the secondary ipFamily",
                )
            )
    elif before and new and new[0] != before[0]:
        errors.append(fe.invalid(path, ips, _ONCE))


def _port(errors: Errors, path: str, item: Obj, seen: set[str], *, named: bool) -> None:
    name = item.get("name") or ""
    if named and not name:
        errors.append(fe.required(f"{path}.name"))
    elif name:
        name_errors(errors, f"{path}.name", name, names.is_dns1123_label)
        if name in seen:
            errors.append(fe.duplicate(f"{path}.name", name))
        seen.add(name)
    number = item.get("port") or 0
    if not 1 <= number <= 65535:
        errors += [fe.invalid(f"{path}.port", number, m) for m in names.is_port_number(number)]
    protocol = item.get("protocol")
    if not protocol:
        errors.append(fe.required(f"{path}.protocol"))
    elif protocol not in _PROTOCOLS:
        errors.append(fe.not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    check_port(errors, f"{path}.targetPort", item.get("targetPort"))
    if item.get("appProtocol") is not None:
        name_errors(errors, f"{path}.appProtocol", item["appProtocol"], names.is_qualified_name)


def _validate(obj: Obj, old: Obj | None) -> Errors:
    errors: Errors = []
    spec, annotations = obj["spec"], obj["metadata"].get("annotations") or {}
    kind, headless = spec.get("type") or "", is_headless(spec)
    if _MODE in annotations and annotations.get(_HINTS, annotations[_MODE]) != annotations[_MODE]:
        errors.append(
            fe.invalid(
                f"metadata.annotations[{_MODE}]",
                annotations[_MODE],
                f"must match annotations[{_HINTS}] when both are specified",
            )
        )
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        errors.append(fe.required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort"):
        if headless:
            errors.append(
                fe.invalid(
                    "spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"
                )
            )
    elif kind == "ExternalName":
        for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(key):
                errors.append(
                    fe.forbidden(f"spec.{key}", "may not be set for ExternalName services")
                )
        cname = (spec.get("externalName") or "").removesuffix(".")
        if cname:
            name_errors(errors, "spec.externalName", cname, names.is_dns1123_subdomain)
        else:
            errors.append(fe.required("spec.externalName"))
    seen: set[str] = set()
    for i, item in enumerate(ports):
        _port(errors, f"spec.ports[{i}]", item, seen, named=len(ports) > 1)
    if spec.get("selector"):
        errors += validate_labels(spec["selector"], "spec.selector")
    _affinity(errors, spec)
    if kind != "ExternalName":
        _cluster_ips(errors, spec, old)
    known = (old["spec"].get("externalIPs") or []) if old else []
    for i, ip in enumerate(spec.get("externalIPs") or ()):
        if legacy_ip(errors, f"spec.externalIPs[{i}]", ip, known):
            endpoint_ip(errors, f"spec.externalIPs[{i}]", ip)
    if not kind:
        errors.append(fe.required("spec.type"))
    elif kind not in _TYPES:
        errors.append(fe.not_supported("spec.type", kind, _TYPES))
    _port_numbers(errors, kind, ports)
    _source_ranges(errors, spec, annotations, old)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        errors.append(
            fe.forbidden(
                "spec.allocateLoadBalancerNodePorts",
                "may only be used when `type` is 'LoadBalancer'",
            )
        )
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        errors.append(fe.required("allocateLoadBalancerNodePorts"))
    _load_balancer_class(errors, spec)
    _traffic(errors, spec)
    return errors


def _affinity(errors: Errors, spec: Obj) -> None:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    path = "spec.sessionAffinityConfig"
    if not affinity:
        errors.append(fe.required("spec.sessionAffinity"))
    elif affinity not in ("ClientIP", "None"):
        errors.append(fe.not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None")))
    if affinity == "ClientIP":
        text = "when session affinity type is ClientIP"
        if config is None:
            errors.append(fe.required(path, text))
        elif config.get("clientIP") is None:
            errors.append(fe.required(f"{path}.clientIP", text))
        else:
            seconds = config["clientIP"].get("timeoutSeconds")
            at = f"{path}.clientIP.timeoutSeconds"
            if seconds is None:
                errors.append(fe.required(at, text))
            elif not 0 < seconds <= 86400:
                errors.append(fe.invalid(at, seconds, "must be greater than 0 and less than 86400"))
    elif affinity == "None" and config is not None:
        errors.append(fe.forbidden(path, "must not be set when session affinity is None"))


def _port_numbers(errors: Errors, kind: str, ports: list[Obj]) -> None:
    text = "may not be used when `type` is 'ClusterIP'"
    node_ports: set[tuple[Any, Any]] = set()
    if kind == "ClusterIP":
        errors += [
            fe.forbidden(f"spec.ports[{i}].nodePort", text)
            for i, item in enumerate(ports)
            if item.get("nodePort")
        ]
    for i, item in enumerate(ports):
        number = item.get("nodePort")
        if not number:
            continue
        key = (item.get("protocol"), number)
        if key in node_ports:
            errors.append(fe.duplicate(f"spec.ports[{i}].nodePort", number))
        node_ports.add(key)
    seen: set[tuple[Any, Any]] = set()
    for i, item in enumerate(ports):
        key = (item.get("protocol"), item.get("port") or 0)
        if key in seen:
            shown = {
                "Name": "",
                "Protocol": key[0],
                "AppProtocol": None,
                "Port": key[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            errors.append(fe.duplicate(f"spec.ports[{i}]", shown))
        seen.add(key)


def _source_ranges(errors: Errors, spec: Obj, annotations: Obj, old: Obj | None) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or []
    text = "may only be used when `type` is 'LoadBalancer'"
    balanced = spec.get("type") == "LoadBalancer"
    if ranges:
        path = "spec.LoadBalancerSourceRanges"
        if not balanced:
            errors.append(fe.forbidden(path, text))
        before = (old["spec"].get("loadBalancerSourceRanges") or []) if old else []
        known = [r.strip() for r in before]
        for i, cidr in enumerate(ranges):
            legacy_cidr(errors, f"{path}[{i}]", cidr.strip(), known)
    elif _RANGES in annotations:
        path, value = f"metadata.annotations[{_RANGES}]", annotations[_RANGES]
        if not balanced:
            errors.append(fe.forbidden(path, text))
        if old is None or (old["metadata"].get("annotations") or {}).get(_RANGES) != value:
            for cidr in value.strip().split(",") if value.strip() else ():
                legacy_cidr(errors, path, cidr.strip())


def _traffic(errors: Errors, spec: Obj) -> None:
    policy = spec.get("externalTrafficPolicy") or ""
    path = "spec.externalTrafficPolicy"
    if not externally_accessible(spec):
        if policy:
            errors.append(
                fe.invalid(path, policy, "may only be set for externally-accessible services")
            )
    elif not policy:
        errors.append(fe.required(path))
    elif policy not in ("Cluster", "Local"):
        errors.append(fe.not_supported(path, policy, ("Cluster", "Local")))
    number = spec.get("healthCheckNodePort") or 0
    path = "spec.healthCheckNodePort"
    if not needs_health_port(spec):
        if number:
            errors.append(
                fe.invalid(
                    path,
                    number,
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                )
            )
    elif not number:
        errors.append(fe.required(path))
    else:
        errors += [fe.invalid(path, number, m) for m in names.is_port_number(number)]
    internal = spec.get("internalTrafficPolicy")
    path = "spec.internalTrafficPolicy"
    if internal is None:
        if needs_cluster_ip(spec):
            errors.append(fe.required(path))
    elif internal not in ("Cluster", "Local"):
        errors.append(fe.not_supported(path, internal, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    supported = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if distribution is not None and distribution not in supported:
        errors.append(fe.not_supported("spec.trafficDistribution", distribution, supported))


def cluster_ip_problems(spec: Obj, old: Obj | None) -> Errors:
    """What is wrong with a Service's addresses and families in themselves."""
    errors: Errors = []
    _cluster_ips(errors, spec, old)
    return errors


def _cluster_ips(errors: Errors, spec: Obj, old: Obj | None) -> None:
    ip, ips = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    path = "spec.clusterIPs"
    if ip:
        if not ips:
            errors.append(fe.required(path))
        elif ips[0] != ip:
            errors.append(fe.invalid(path, ips, "first value must match `clusterIP`"))
    elif ips:
        errors.append(fe.invalid(path, ips, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for i, family in enumerate(families):
        at = f"spec.ipFamilies[{i}]"
        if family not in ("IPv4", "IPv6"):
            errors.append(fe.not_supported(at, family, ("IPv4", "IPv6")))
        if family in families[:i]:
            errors.append(fe.duplicate(at, family))
    policy = spec.get("ipFamilyPolicy")
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    if policy is not None and policy not in policies:
        errors.append(fe.not_supported("spec.ipFamilyPolicy", policy, policies))
    known = (old["spec"].get("clusterIPs") or []) if old else []
    invalid = False
    for i, address in enumerate(ips):
        if i == 0 and address == "None":
            if len(ips) > 1:
                invalid = True
                errors.append(fe.invalid(path, ips, "'None' must be the first and only value"))
            continue
        if not legacy_ip(errors, f"{path}[{i}]", address, known):
            invalid = True
    if len(ips) > 2:
        errors.append(fe.invalid(path, ips, "may only hold up to 2 values"))
    if invalid:
        return
    if len(ips) > 1 and not dual_stack(ips):
        errors.append(fe.invalid(path, ips, "may specify no more than one IP for each IP family"))
    if ips and families and ips != ["None"]:
        for i, (address, family) in enumerate(zip(ips, families, strict=False)):
            if family in ("IPv4", "IPv6") and (family == "IPv6") != (":" in address):
                article = "an"
                errors.append(
                    fe.invalid(
                        f"{path}[{i}]",
                        address,
                        f"expected {article} {family} value as indicated by `ipFamilies[{i}]`",
                    )
                )
