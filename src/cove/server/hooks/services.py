"""Services get their cluster IPs and node ports when they are stored.

An address is taken by the existence of the IPAddress object that is named after it, as
upstream's MultiCIDRServiceAllocator does; a node port by the service that has it.

Source: ``pkg/registry/core/service/storage/alloc.go``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import orjson

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.kube.kinds.core.service import (
    carry_over,
    cluster_ip_problems,
    normalize_cluster_ips,
)
from cove.server.registry import Finish, Hook

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint
    from cove.server.store import Store

__all__ = ["ServiceHook", "take_address"]

ADDRESSES = "ipaddresses.networking.k8s.io"
NODE_PORTS = range(30000, 32768)
_WITH_IP = ("ClusterIP", "NodePort", "LoadBalancer")
_TRIES = 64


class ServiceHook(Hook):
    """Allocates on create and update, releases on removal."""

    def __init__(self) -> None:
        # Node ports of writes that are under way.
        self._promised: WeakKeyDictionary[Store, Counter[tuple[int, str]]] = WeakKeyDictionary()

    def begin(
        self, api: Api, endpoint: Endpoint, obj: Obj, old: Obj | None, *, dry_run: bool
    ) -> Finish:
        """Fill in families, addresses and ports; raises 422 for what cannot be had."""
        spec = obj["spec"]
        before = (old or {}).get("spec", {})
        if old is not None:
            carry_over(spec, before)
        normalize_cluster_ips(spec, before if old is not None else None)
        created: list[str] = []
        kept: set[str] = set()
        if spec.get("type", "ClusterIP") != "ExternalName":
            # Upstream looks at these before anything is allocated, and at nothing else then.
            wrong = cluster_ip_problems(spec, old)
            if wrong:
                raise _invalid(endpoint, obj["metadata"], wrong)
            _families(api, endpoint, obj)
            created = self._addresses(api, endpoint, obj, before, dry_run)
            try:
                self._ports(api, endpoint, obj, before)
            except st.StatusError:
                self._release(api, {"clusterIPs": created}, dry_run)
                raise
            kept = set(spec.get("clusterIPs", ()))
        gone = [ip for ip in before.get("clusterIPs", ()) if ip not in kept]
        # Others do not get them while a webhook is asked about this one.
        ports = Counter(() if dry_run else _node_ports(spec))
        promised = self._promised.setdefault(api.store, Counter())
        promised.update(ports)

        def finish(success: bool) -> None:
            promised.subtract(ports)
            self._release(api, {"clusterIPs": gone if success else created}, dry_run)

        return finish

    def ended(self, api: Api, endpoint: Endpoint, obj: Obj) -> None:
        """Give the addresses back."""
        self._release(api, obj.get("spec", {}), False)

    def _release(self, api: Api, spec: dict[str, Any], dry_run: bool) -> None:
        if dry_run:
            return
        for address in spec.get("clusterIPs", ()):
            stored = api.store.state.get(ADDRESSES, "", address)
            if stored is not None:
                api.store.delete(ADDRESSES, "", address, _as_it_was(stored.data))

    def _addresses(
        self, api: Api, endpoint: Endpoint, obj: Obj, before: dict[str, Any], dry_run: bool
    ) -> list[str]:
        spec, meta = obj["spec"], obj["metadata"]
        wanted = list(spec.get("clusterIPs", ()))
        if wanted[:1] == ["None"]:
            return []
        had = set(before.get("clusterIPs", ()))
        if wanted:
            for address in wanted:
                if address in had:
                    continue
                problem = _unavailable(api, address)
                if problem:
                    raise _invalid(
                        endpoint,
                        meta,
                        [
                            fe.invalid(
                                "spec.clusterIPs",
                                wanted,
                                f"failed to allocate IP {address}: {problem}",
                            )
                        ],
                    )
        elif dry_run:
            # Not worth a search, as upstream has it: the first address stands for any.
            wanted = [str(next(api.config.service_subnet.hosts()))]
        else:
            wanted = [_free_address(api, meta)]
        spec["clusterIP"] = wanted[0]
        spec["clusterIPs"] = wanted
        if not meta.get("name"):
            # The address' object cannot say whose it is.
            why = (
                f'failed to allocate IP: IPAddress.networking.k8s.io "{wanted[0]}" is invalid: '
                "spec.parentRef.name: Required value"
            )
            del spec["clusterIP"], spec["clusterIPs"]
            raise _invalid(endpoint, meta, [fe.invalid("spec.clusterIPs", [""], why)])
        created = []
        for address in wanted:
            if address not in had and not dry_run:
                take_address(api, address, meta)
                created.append(address)
        return created

    def _ports(self, api: Api, endpoint: Endpoint, obj: Obj, before: dict[str, Any]) -> None:
        spec, meta = obj["spec"], obj["metadata"]
        type_ = spec.get("type", "ClusterIP")
        allocate = type_ == "NodePort" or (
            type_ == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
        )
        own = {(p.get("nodePort"), p.get("protocol", "TCP")) for p in before.get("ports", ())}
        asked = [p for p in spec.get("ports", ()) if p.get("nodePort")]
        health = type_ == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
        if not health:
            spec.pop("healthCheckNodePort", None)
        if not allocate and not asked and not health:
            return
        taken = _taken_ports(api)
        taken.update(p for p, n in self._promised.get(api.store, {}).items() if n > 0)
        errors: list[FieldError] = []
        for index, port in enumerate(spec.get("ports", ())):
            protocol = port.get("protocol", "TCP")
            number = port.get("nodePort")
            if number:
                if (number, protocol) in own:
                    continue
                if number not in NODE_PORTS:
                    errors.append(
                        fe.invalid(
                            f"spec.ports[{index}].nodePort",
                            number,
                            "provided port is not in the valid range. The range of valid ports "
                            f"is {NODE_PORTS.start}-{NODE_PORTS.stop - 1}",
                        )
                    )
                elif (number, protocol) in taken:
                    errors.append(
                        fe.invalid(
                            f"spec.ports[{index}].nodePort",
                            number,
                            "provided port is already allocated",
                        )
                    )
                taken.add((number, protocol))
            elif allocate:
                same = next(
                    (
                        p["nodePort"]
                        for p in spec["ports"]
                        if p.get("nodePort")
                        and p["port"] == port["port"]
                        and (p["nodePort"], protocol) not in taken
                    ),
                    None,
                )
                number = same or _free_port(api, taken)
                port["nodePort"] = number
                taken.add((number, protocol))
        if health and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before.get("healthCheckNodePort") or _free_port(
                api, taken
            )
        if errors:
            raise _invalid(endpoint, meta, errors)


def _invalid(endpoint: Endpoint, meta: Obj, errors: list[FieldError]) -> st.StatusError:
    return st.invalid(endpoint.kind_name, endpoint.group, meta.get("name", ""), errors)


def _families(api: Api, endpoint: Endpoint, obj: Obj) -> None:
    """ipFamilies and ipFamilyPolicy, for a cluster with one service subnet."""
    spec, meta = obj["spec"], obj["metadata"]
    family = f"IPv{api.config.service_subnet.version}"
    other = "IPv6" if family == "IPv4" else "IPv4"
    ips = spec.get("clusterIPs", [])
    headless = ips[:1] == ["None"]
    policy = spec.get("ipFamilyPolicy")
    families = spec.get("ipFamilies", [])
    selectorless = headless and not spec.get("selector")
    errors: list[FieldError] = []
    if selectorless:
        # Nobody selects its endpoints: both families, whatever the cluster has.
        if policy is None:
            policy = "SingleStack" if len(families) == 1 else "RequireDualStack"
        if not families:
            families = [family]
        if policy != "SingleStack" and len(families) == 1:
            families = [families[0], other if families[0] == family else family]
        spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families
        return
    if policy == "RequireDualStack":
        errors.append(
            fe.invalid(
                "spec.ipFamilyPolicy",
                policy,
                "this cluster is not configured for dual-stack services",
            )
        )
    for index, wanted in enumerate(families):
        if wanted != family:
            errors.append(
                fe.invalid(f"spec.ipFamilies[{index}]", wanted, "not configured on this cluster")
            )
    if errors:
        raise _invalid(endpoint, meta, errors)
    if policy is None:
        spec["ipFamilyPolicy"] = "SingleStack"
    if not families:
        spec["ipFamilies"] = [family]


def _unavailable(api: Api, address: str) -> str:
    """Why an address cannot be given, "" if it can."""
    subnet = api.config.service_subnet
    ip = ip_address(address)
    if ip not in subnet or ip in (subnet.network_address, subnet.broadcast_address):
        return (
            f"the provided IP ({address}) is not in the valid range. The range of valid IPs is "
            f"{subnet}"
        )
    if api.store.state.get(ADDRESSES, "", address) is not None:
        return "provided IP is already allocated"
    return ""


def _reserved(size: int) -> int:
    """How many of the first addresses are left to those who ask for a certain one (KEP-3070)."""
    return min(max(16, size // 16), 256) if size >= 32 else 0


def _free_address(api: Api, meta: Obj) -> str:
    """A free address above the reserved ones, from the top down; else the lowest of those.

    Upstream draws lots.  Here the same objects get the same addresses, so that two runs of
    a test can be compared, and one that was given back is not given out at once again.
    """
    subnet, state = api.config.service_subnet, api.store.state
    size = max(subnet.num_addresses - 2, 1)
    first = int(subnet.network_address) + 1
    make = type(subnet.network_address)
    reserved = _reserved(size)
    below = api.last_address if reserved < api.last_address <= size else size
    for offset in chain(
        range(below - 1, reserved - 1, -1), range(size - 1, below - 1, -1), range(reserved)
    ):
        candidate = str(make(first + offset))
        if state.get(ADDRESSES, "", candidate) is None:
            if offset >= reserved:
                api.last_address = offset
            return candidate
    raise st.internal_error(
        f'failed to allocate a serviceIP: range is full for service "{meta.get("name", "")}"'
    )


def take_address(api: Api, address: str, meta: Obj) -> None:
    """Store the IPAddress object that says whose the address is."""
    from cove.server.bootstrap import seed

    seed(
        api,
        "networking.k8s.io",
        "v1",
        "ipaddresses",
        {
            "metadata": {
                "name": address,
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": f"IPv{ip_address(address).version}",
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {
                "parentRef": {
                    "resource": "services",
                    "namespace": meta["namespace"],
                    "name": meta["name"],
                }
            },
        },
    )


def _as_it_was(data: bytes) -> Callable[[str], bytes]:
    return lambda _revision: data


_ports: dict[int, tuple[Any, frozenset[tuple[int, str]]]] = {}


def _taken_ports(api: Api) -> set[tuple[int, str]]:
    """Every (node port, protocol) in use; computed once per state of the services."""
    state = api.store.state
    bucket = state.bucket("services")
    cached = _ports.get(id(bucket))
    if cached is None or cached[0] is not bucket:
        found: set[tuple[int, str]] = set()
        for stored in state.list("services"):
            if b"odePort" in stored.data:
                found.update(_node_ports(orjson.loads(stored.data)["spec"]))
        if len(_ports) > 16:
            _ports.clear()
        cached = _ports[id(bucket)] = (bucket, frozenset(found))
    return set(cached[1])


def _node_ports(spec: Obj) -> Iterator[tuple[int, str]]:
    """The (node port, protocol) that a service has."""
    for port in spec.get("ports", ()):
        if port.get("nodePort"):
            yield port["nodePort"], port.get("protocol", "TCP")
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"], "TCP"


def _free_port(api: Api, taken: set[tuple[int, str]]) -> int:
    used = {number for number, _ in taken}
    for _ in range(_TRIES):
        candidate = api.config.rng.randrange(NODE_PORTS.start, NODE_PORTS.stop)
        if candidate not in used:
            return candidate
    for candidate in NODE_PORTS:
        if candidate not in used:
            return candidate
    raise st.internal_error("failed to allocate a nodePort: range is full")
