"""EndpointSlices: the addresses behind a Service, in pieces of at most a hundred.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from typing import Any

import orjson

from cove.client.meta import owner_reference
from cove.controllers._controller import Context, Controller, split
from cove.controllers._endpoints import (
    HEADLESS,
    TRIGGER_TIME,
    ServiceIndex,
    batch_delay,
    hostname_of,
    is_headless,
    pod_ip,
    port_of,
    serves,
    target_ref,
    trigger_time,
)
from cove.controllers._pods import is_ready
from cove.controllers._resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from cove.controllers._slices import MANAGED_BY, SERVICE_NAME, Group, reconcile
from cove.kube.labels import from_map

__all__ = ["EndpointSliceController"]

Doc = dict[str, Any]

MANAGER = "endpointslice-controller.k8s.io"
# Endpoints per slice, to guess a service's size by.
CAPACITY_HINT = 100
ZONE = "topology.kubernetes.io/zone"


def by_service(piece: Doc) -> tuple[str, ...]:
    """Index: the service's key."""
    labels = piece["metadata"].get("labels") or {}
    name = labels.get(SERVICE_NAME)
    return (f"{piece['metadata']['namespace']}/{name}",) if name else ()


class EndpointSliceController(Controller):
    """Keys are services."""

    name = "endpoint-slice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.informer(SERVICES)
        self.pods = self.informer(PODS)
        self.nodes = self.informer(NODES)
        self.slices = self.informer(ENDPOINT_SLICES)
        self.slices.add_index("service", by_service)
        self.watch_own(self.services)
        self.slices.add_handler(self._slice_changed)
        self.nodes.add_handler(self._node_changed)
        ServiceIndex(self.services, self.pods, self._pods_changed)

    def _pods_changed(self, key: str) -> None:
        size = CAPACITY_HINT * max(self.slices.count("service", key) - 1, 0)
        self.queue.add_after(key, batch_delay(size))

    def _slice_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if old is None:
            return
        for key in by_service(old):
            self.queue.add(key)

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """A node that appears lets its pods be endpoints; its zone shows in them."""
        if initial or (old is not None and new is not None and _zone(old) == _zone(new)):
            return
        for service in self.services:
            metadata = service["metadata"]
            self.queue.add_after(f"{metadata['namespace']}/{metadata['name']}", 0.01)

    async def sync(self, key: str) -> None:
        """One service."""
        namespace, name = split(key)
        service = self.services.get_key(key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return
        spec = service["spec"]
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return
        pods = self.pods.list(namespace, from_map(spec["selector"]))
        families = spec.get("ipFamilies") or ["IPv4"]
        groups = [g for family in families for g in self._groups(service, pods, family)]
        labels = {
            k: v
            for k, v in (service["metadata"].get("labels") or {}).items()
            if k not in (SERVICE_NAME, MANAGED_BY, HEADLESS)
        }
        if is_headless(service):
            labels[HEADLESS] = ""
        labels[SERVICE_NAME] = name
        labels[MANAGED_BY] = MANAGER
        changed = trigger_time(pods, service)
        await reconcile(
            self.client,
            [
                s
                for s in self.slices.indexed("service", key)
                if (s["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER
            ],
            groups,
            owner=owner_reference(service, "v1", "Service"),
            namespace=namespace,
            name=name,
            labels=labels,
            annotations={TRIGGER_TIME: changed} if changed else {},
            keep_family=families[0],
        )

    def _groups(self, service: Doc, pods: list[Doc], family: str) -> list[Group]:
        groups: dict[bytes, Group] = {}
        ports_of_service = service["spec"].get("ports") or ()
        for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
            if not serves(pod, terminating=True) or not pod["spec"].get("nodeName"):
                continue
            node = self.nodes.get(None, pod["spec"]["nodeName"])
            if node is None and not service["spec"].get("publishNotReadyAddresses"):
                continue
            address = pod_ip(pod, family)
            if not address:
                continue
            ports: list[Doc] | None = []
            for port in ports_of_service:
                number = port_of(pod, port)
                if number is None:
                    continue
                entry: Doc = {
                    "name": port.get("name", ""),
                    "protocol": port.get("protocol", "TCP"),
                    "port": number,
                }
                if port.get("appProtocol"):
                    entry["appProtocol"] = port["appProtocol"]
                assert ports is not None
                ports.append(entry)
            if not ports_of_service:
                ports = None
            key = orjson.dumps(ports)
            group = groups.get(key)
            if group is None:
                group = groups[key] = Group(family, ports)
            group.endpoints.append(_endpoint(pod, service, node, address))
        return list(groups.values())


def _zone(node: Doc) -> str:
    return str((node["metadata"].get("labels") or {}).get(ZONE, ""))


def _endpoint(pod: Doc, service: Doc, node: Doc | None, address: str) -> Doc:
    serving = is_ready(pod)
    terminating = "deletionTimestamp" in pod["metadata"]
    anyway = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Doc = {
        "addresses": [address],
        "conditions": {
            "ready": anyway or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": target_ref(pod),
    }
    zone = _zone(node) if node is not None else ""
    if zone:
        endpoint["zone"] = zone
    hostname = hostname_of(pod, service)
    if hostname:
        endpoint["hostname"] = hostname
    hints = _hints(service, zone, endpoint["nodeName"])
    if hints:
        endpoint["hints"] = hints
    return endpoint


def _hints(service: Doc, zone: str, node: str) -> Doc:
    """Whom the endpoint is best for, by the service's trafficDistribution."""
    wish = service["spec"].get("trafficDistribution")
    if wish not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return {}
    hints: Doc = {"forZones": [{"name": zone}]} if zone else {}
    if wish == "PreferSameNode":
        hints["forNodes"] = [{"name": node}]
    return hints
