"""Endpoints: the addresses behind a Service, in one object.

Deprecated in favour of EndpointSlices, and still read by many.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#endpoints
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

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
from cove.controllers._resources import ENDPOINTS, PODS, SERVICES
from cove.kube.labels import from_map
from cove.kube.status import StatusError

__all__ = ["EndpointsController", "repack"]

Doc = dict[str, Any]

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
CAPACITY = 1000


class EndpointsController(Controller):
    """Keys are services."""

    name = "endpoint-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.informer(SERVICES)
        self.pods = self.informer(PODS)
        self.endpoints = self.informer(ENDPOINTS)
        self.watch_own(self.services)
        self.endpoints.add_handler(self._changed)
        ServiceIndex(self.services, self.pods, self._pods_changed)

    def _pods_changed(self, key: str) -> None:
        known = self.endpoints.get_key(key)
        self.queue.add_after(key, batch_delay(_size(known) if known else 0))

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """Somebody may have removed or rewritten them."""
        metadata = (new or old or {})["metadata"]
        if old is not None and not initial:
            self.queue.add(f"{metadata['namespace']}/{metadata['name']}")
        elif initial and MANAGED_BY in (metadata.get("labels") or {}):
            # Left over from a service that went while nobody looked.
            self.queue.add(f"{metadata['namespace']}/{metadata['name']}")

    async def sync(self, key: str) -> None:
        """One service."""
        namespace, name = split(key)
        service = self.services.get_key(key)
        known = self.endpoints.get_key(key)
        if service is None:
            await self._remove(namespace, name, known)
            return
        spec = service["spec"]
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return
        pods = self.pods.list(namespace, from_map(spec["selector"]))
        subsets, over = _subsets(service, pods)
        await self._write(service, known, subsets, over, trigger_time(pods, service))

    async def _remove(self, namespace: str, name: str, known: Doc | None) -> None:
        """Endpoints go with their service, handmade ones too."""
        if known is None:
            return
        try:
            await self.client.delete(ENDPOINTS, name, namespace, uid=known["metadata"]["uid"])
        except StatusError as e:
            if e.code not in (404, 409):
                raise

    async def _write(
        self, service: Doc, known: Doc | None, subsets: list[Doc], over: bool, changed: str
    ) -> None:
        metadata = service["metadata"]
        labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HEADLESS}
        if is_headless(service):
            labels[HEADLESS] = ""
        labels[MANAGED_BY] = self.name
        old = known["metadata"] if known is not None else {}
        annotations = dict(old.get("annotations") or {})
        if (
            known is not None
            and (known.get("subsets") or []) == subsets
            and (old.get("labels") or {}) == labels
            and (OVER_CAPACITY in annotations) == over
        ):
            return
        if changed:
            annotations[TRIGGER_TIME] = changed
        if over:
            annotations[OVER_CAPACITY] = "truncated"
        else:
            annotations.pop(OVER_CAPACITY, None)
        doc: Doc = {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": {
                **old,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": annotations,
            },
        }
        if subsets:
            doc["subsets"] = subsets
        try:
            if known is None:
                await self.client.create(ENDPOINTS, doc)
            else:
                await self.client.update(ENDPOINTS, doc)
        except StatusError as e:
            if e.code == 403 or (known is None and e.code == 404):
                return  # its namespace is going away
            raise


def _size(endpoints: Doc) -> int:
    return sum(
        len(s.get("addresses") or ()) + len(s.get("notReadyAddresses") or ())
        for s in endpoints.get("subsets") or ()
    )


def _subsets(service: Doc, pods: list[Doc]) -> tuple[list[Doc], bool]:
    """The subsets, and whether addresses were left out for being too many."""
    spec = service["spec"]
    family = (spec.get("ipFamilies") or ["IPv4"])[0]
    anyway = bool(spec.get("publishNotReadyAddresses"))
    ports = spec.get("ports") or ()
    parts: list[tuple[tuple[Any, ...] | None, bool, Doc]] = []
    total = 0
    for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
        if not serves(pod, terminating=anyway) or not pod["spec"].get("nodeName"):
            continue
        address = _address(pod, service, family)
        if address is None:
            continue
        ready = anyway or is_ready(pod)
        if not ports:
            if is_headless(service):
                parts.append((None, ready, address))
                total += 1
            continue
        for port in ports:
            number = port_of(pod, port)
            if number is not None:
                total += 1
                parts.append(
                    (
                        (
                            number,
                            port.get("protocol", "TCP"),
                            port.get("name", ""),
                            port.get("appProtocol", ""),
                        ),
                        ready,
                        address,
                    )
                )
    over = total > CAPACITY
    if over:
        parts = sorted(parts, key=lambda p: not p[1])[:CAPACITY]
    return repack(parts), over


def _address(pod: Doc, service: Doc, family: str) -> Doc | None:
    ip = pod_ip(pod, family)
    if not ip:
        return None
    address: Doc = {"ip": ip, "nodeName": pod["spec"]["nodeName"], "targetRef": target_ref(pod)}
    hostname = hostname_of(pod, service)
    if hostname:
        address["hostname"] = hostname
    return address


def repack(parts: Iterable[tuple[tuple[Any, ...] | None, bool, Doc]]) -> list[Doc]:
    """Subsets in canonical form: ports with the same addresses share one.

    ``parts`` are (port, ready, address); a port is (number, protocol, name, appProtocol),
    or None for an address without ports.

    Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/api/v1/endpoints#RepackSubsets
    """
    by_port: dict[tuple[Any, ...] | None, dict[bytes, tuple[bool, Doc]]] = {}
    for port, ready, address in parts:
        identity = orjson.dumps(
            (address["ip"], (address.get("targetRef") or {}).get("uid", "")),
        )
        known = by_port.setdefault(port, {})
        found = known.get(identity)
        # Who is ready once is ready.
        known[identity] = (ready or (found is not None and found[0]), address)
    groups: dict[tuple[Any, ...], tuple[list[Any], dict[bytes, tuple[bool, Doc]]]] = {}
    for port, addresses in by_port.items():
        key = tuple(sorted((identity, ready) for identity, (ready, _) in addresses.items()))
        ports, _ = groups.setdefault(key, ([], addresses))
        if port is not None:
            ports.append(port)
    subsets = []
    for ports, addresses in groups.values():
        subset: Doc = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            chosen = [a for ready, a in addresses.values() if ready is wanted]
            if chosen:
                subset[field] = sorted(
                    chosen, key=lambda a: (a["ip"], (a.get("targetRef") or {}).get("uid", ""))
                )
        if ports:
            subset["ports"] = [_port(p) for p in sorted(ports, key=lambda p: (p[0], p[1], p[2]))]
        subsets.append(subset)
    return sorted(subsets, key=lambda s: orjson.dumps(s, option=orjson.OPT_SORT_KEYS))


def _port(port: tuple[Any, ...]) -> Doc:
    number, protocol, name, app = port
    out: Doc = {"port": number, "protocol": protocol}
    if name:
        out["name"] = name
    if app:
        out["appProtocol"] = app
    return out
