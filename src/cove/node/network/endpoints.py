"""ServicePort: one port of a Service and what is behind it, as plain values.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

__all__ = ["Endpoint", "ServicePort", "chosen", "service_key", "service_ports"]

Doc = dict[str, Any]

SERVICE_NAME = "kubernetes.io/service-name"
# The seconds of ClientIP affinity where a service names none.
AFFINITY = 10800


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address behind a port.  ``node`` is "" where the slice names none."""

    address: str
    port: int
    node: str = ""
    ready: bool = True
    # Terminating, but still answering: for when nobody else is there.
    lingering: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """A port of a service with a virtual address; addresses are IPv4 texts.

    ``affinity`` is in seconds, 0 for none; ``node_port`` 0 for none.
    """

    namespace: str
    service: str
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    node_port: int = 0
    cluster_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    external_local: bool = False
    internal_local: bool = False
    affinity: int = 0
    endpoints: tuple[Endpoint, ...] = ()

    def __str__(self) -> str:
        """As messages name it: ``default/web:http``."""
        return f"{self.namespace}/{self.service}{':' if self.name else ''}{self.name}"


def chosen(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Who gets traffic: those that are ready, else those that linger."""
    all_ = tuple(endpoints)
    return tuple(e for e in all_ if e.ready) or tuple(e for e in all_ if e.lingering)


def service_key(slice_: Doc) -> str:
    """``namespace/name`` of the service that a slice belongs to, "" for none."""
    metadata = slice_["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME)
    return f"{metadata['namespace']}/{name}" if name else ""


def service_ports(
    service: Doc, slices: Iterable[Doc], api: tuple[str, int] | None = None
) -> list[ServicePort]:
    """The ports of a service, with all endpoints that may get traffic; none for headless ones.

    ``api`` is where pods find the API server: it stands in for loopback addresses behind the
    Service ``kubernetes``, which mean the machine to a server and the pod itself to a pod, and
    for none.
    """
    spec = service["spec"]
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return []
    metadata = service["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    known = tuple(slices)
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = int(config.get("timeoutSeconds") or AFFINITY)
    common: dict[str, Any] = {
        "namespace": namespace,
        "service": name,
        "cluster_ips": _ipv4(spec.get("clusterIPs") or [spec["clusterIP"]]),
        "external_ips": _ipv4(spec.get("externalIPs") or ()),
        "balancer_ips": _ipv4(_ingress(service)),
        "source_ranges": tuple(
            r.strip() for r in spec.get("loadBalancerSourceRanges") or () if ":" not in r
        ),
        "external_local": spec.get("externalTrafficPolicy") == "Local",
        "internal_local": spec.get("internalTrafficPolicy") == "Local",
        "affinity": affinity,
    }
    out = []
    for port in spec.get("ports") or ():
        endpoints = _endpoints(known, port.get("name", ""), port.get("protocol", "TCP"))
        if api is not None and (namespace, name) == ("default", "kubernetes"):
            endpoints = {_for_pods(e, api) for e in endpoints} or {Endpoint(*api)}
        out.append(
            ServicePort(
                name=port.get("name", ""),
                protocol=port.get("protocol", "TCP"),
                port=port["port"],
                node_port=port.get("nodePort") or 0,
                endpoints=tuple(sorted(endpoints)),
                **common,
            )
        )
    return out


def _endpoints(slices: Iterable[Doc], name: str, protocol: str) -> set[Endpoint]:
    out = set()
    for slice_ in slices:
        if slice_.get("addressType", "IPv4") != "IPv4":
            continue
        for port in slice_.get("ports") or ():
            if (port.get("name") or "", port.get("protocol") or "TCP") != (name, protocol):
                continue
            if not port.get("port"):
                continue
            for endpoint in slice_.get("endpoints") or ():
                found = _endpoint(endpoint, port["port"])
                if found is not None:
                    out.add(found)
    return out


def _endpoint(endpoint: Doc, port: int) -> Endpoint | None:
    conditions: Mapping[str, bool | None] = endpoint.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    serving = ready if serving is None else serving
    lingering = bool(serving and conditions.get("terminating"))
    if not ready and not lingering:
        return None
    # Upstream uses the first address only, too.
    address = endpoint["addresses"][0]
    return Endpoint(address, port, endpoint.get("nodeName") or "", ready, lingering)


def _for_pods(endpoint: Endpoint, api: tuple[str, int]) -> Endpoint:
    return Endpoint(*api) if ip_address(endpoint.address).is_loopback else endpoint


def _ingress(service: Doc) -> list[str]:
    """Addresses of load balancers that hand packets on as they are."""
    status = (service.get("status") or {}).get("loadBalancer") or {}
    return [
        i["ip"]
        for i in status.get("ingress") or ()
        if i.get("ip") and i.get("ipMode", "VIP") != "Proxy"
    ]


def _ipv4(addresses: Iterable[str]) -> tuple[str, ...]:
    out = []
    for text in addresses:
        address = ip_address(text)
        if address.version == 4 and not address.is_loopback:
            out.append(text)
    return tuple(out)
