"""The types of networking/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import core_v1, meta_v1
from cove.operator.markers import Int32, IntOrString, ListMap, MapAtomic, Required, mark

__all__ = [
    "HTTPIngressPath",
    "HTTPIngressRuleValue",
    "IPAddress",
    "IPAddressSpec",
    "IPBlock",
    "Ingress",
    "IngressBackend",
    "IngressClass",
    "IngressClassParametersReference",
    "IngressClassSpec",
    "IngressLoadBalancerIngress",
    "IngressLoadBalancerStatus",
    "IngressPortStatus",
    "IngressRule",
    "IngressServiceBackend",
    "IngressSpec",
    "IngressStatus",
    "IngressTLS",
    "NetworkPolicy",
    "NetworkPolicyEgressRule",
    "NetworkPolicyIngressRule",
    "NetworkPolicyPeer",
    "NetworkPolicyPort",
    "NetworkPolicySpec",
    "ParentReference",
    "ServiceBackendPort",
    "ServiceCIDR",
    "ServiceCIDRSpec",
    "ServiceCIDRStatus",
]


class IngressClassParametersReference(Part):
    api_group: str | None = None
    kind: str
    name: str
    scope: str | None = None
    namespace: str | None = None


class IngressClassSpec(Part):
    controller: str = ""
    parameters: IngressClassParametersReference | None = None


@builtin("networking.k8s.io/v1", "ingressclasses", scope="Cluster")
class IngressClass(Kind):
    spec: IngressClassSpec = field(default_factory=IngressClassSpec)


@mark(MapAtomic())
class ServiceBackendPort(Part):
    name: str = ""
    number: Int32 = 0


class IngressServiceBackend(Part):
    name: str
    port: ServiceBackendPort = field(default_factory=ServiceBackendPort)


class IngressBackend(Part):
    service: IngressServiceBackend | None = None
    resource: core_v1.TypedLocalObjectReference | None = None


class IngressTLS(Part):
    hosts: list[str] = []
    secret_name: str = ""


class HTTPIngressPath(Part):
    path: str = ""
    path_type: str
    backend: IngressBackend


class HTTPIngressRuleValue(Part):
    paths: Annotated[list[HTTPIngressPath], Required()] = []


class IngressRule(Part):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressSpec(Part):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: list[IngressTLS] = []
    rules: list[IngressRule] = []


class IngressPortStatus(Part):
    port: Int32
    protocol: str
    error: str | None = None


class IngressLoadBalancerIngress(Part):
    ip: str = ""
    hostname: str = ""
    ports: list[IngressPortStatus] = []


class IngressLoadBalancerStatus(Part):
    ingress: list[IngressLoadBalancerIngress] = []


class IngressStatus(Part):
    load_balancer: IngressLoadBalancerStatus = field(default_factory=IngressLoadBalancerStatus)


@builtin("networking.k8s.io/v1", "ingresses", short_names=("ing",))
class Ingress(Kind):
    spec: IngressSpec = field(default_factory=IngressSpec)
    status: IngressStatus = field(default_factory=IngressStatus)


class ParentReference(Part):
    group: str = ""
    resource: Annotated[str, Required()] = ""
    namespace: str = ""
    name: Annotated[str, Required()] = ""


class IPAddressSpec(Part):
    parent_ref: Annotated[ParentReference | None, Required()] = None


@builtin("networking.k8s.io/v1", "ipaddresses", short_names=("ip",), scope="Cluster")
class IPAddress(Kind):
    spec: IPAddressSpec


class NetworkPolicyPort(Part):
    protocol: str | None = None
    port: IntOrString | None = None
    end_port: Int32 | None = None


class IPBlock(Part):
    cidr: str
    except_: list[str] = []


class NetworkPolicyPeer(Part):
    pod_selector: meta_v1.LabelSelector | None = None
    namespace_selector: meta_v1.LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyIngressRule(Part):
    ports: list[NetworkPolicyPort] = []
    from_: list[NetworkPolicyPeer] = []


class NetworkPolicyEgressRule(Part):
    ports: list[NetworkPolicyPort] = []
    to: list[NetworkPolicyPeer] = []


class NetworkPolicySpec(Part):
    pod_selector: meta_v1.LabelSelector = field(default_factory=meta_v1.LabelSelector)
    ingress: list[NetworkPolicyIngressRule] = []
    egress: list[NetworkPolicyEgressRule] = []
    policy_types: list[str] = []


@builtin("networking.k8s.io/v1", "networkpolicies", short_names=("netpol",))
class NetworkPolicy(Kind):
    spec: NetworkPolicySpec = field(default_factory=NetworkPolicySpec)


class ServiceCIDRSpec(Part):
    cidrs: list[str] = []


class ServiceCIDRStatus(Part):
    conditions: Annotated[list[meta_v1.Condition], ListMap("type")] = []


@builtin("networking.k8s.io/v1", "servicecidrs", scope="Cluster")
class ServiceCIDR(Kind):
    spec: ServiceCIDRSpec = field(default_factory=ServiceCIDRSpec)
    status: ServiceCIDRStatus = field(default_factory=ServiceCIDRStatus)
