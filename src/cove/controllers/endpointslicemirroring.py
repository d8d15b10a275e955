"""Mirroring: handmade Endpoints of Services without a selector, as EndpointSlices.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import owner_reference
from cove.controllers._controller import Context, Controller, split
from cove.controllers._endpoints import TRIGGER_TIME, family_of
from cove.controllers._resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from cove.controllers._slices import MANAGED_BY, SERVICE_NAME, Group, reconcile
from cove.controllers.endpointslice import by_service

__all__ = ["EndpointSliceMirroring"]

Doc = dict[str, Any]

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
# The API server makes the slices of this one itself.
OWN = "default/kubernetes"
PER_SUBSET = 1000


class EndpointSliceMirroring(Controller):
    """Keys are Endpoints, which are called like their Service."""

    name = "endpoint-slice-mirroring-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.endpoints = self.informer(ENDPOINTS)
        self.services = self.informer(SERVICES)
        self.slices = self.informer(ENDPOINT_SLICES)
        self.slices.add_index("service", by_service)
        self.watch_own(self.endpoints)
        self.watch_own(self.services)
        self.slices.add_handler(self._slice_changed)

    def _slice_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if old is not None:
            labels = old["metadata"].get("labels") or {}
            if labels.get(MANAGED_BY) == MANAGER:
                for key in by_service(old):
                    self.queue.add(key)

    async def sync(self, key: str) -> None:
        """One Endpoints object."""
        namespace, name = split(key)
        endpoints, service = self.endpoints.get_key(key), self.services.get_key(key)
        existing = [
            s
            for s in self.slices.indexed("service", key)
            if (s["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER
        ]
        if not existing and (endpoints is None or not _mirrored(endpoints, service)):
            return
        if key == OWN:
            return
        if endpoints is None or not _mirrored(endpoints, service):
            groups: list[Group] = []
            owner: Doc = {}
        else:
            groups = _groups(endpoints)
            owner = owner_reference(endpoints, "v1", "Endpoints")
        metadata = (endpoints or {"metadata": {}})["metadata"]
        labels = {
            k: v
            for k, v in (metadata.get("labels") or {}).items()
            if k not in (MANAGED_BY, SERVICE_NAME, "endpoints.kubernetes.io/managed-by")
        }
        annotations = {
            k: v
            for k, v in (metadata.get("annotations") or {}).items()
            if k not in (TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration")
        }
        await reconcile(
            self.client,
            existing,
            groups,
            owner=owner,
            namespace=namespace,
            name=name,
            labels={**labels, SERVICE_NAME: name, MANAGED_BY: MANAGER},
            annotations=annotations,
        )


def _mirrored(endpoints: Doc, service: Doc | None) -> bool:
    metadata = endpoints["metadata"]
    if (metadata.get("labels") or {}).get(SKIP) == "true":
        return False
    if LEADER in (metadata.get("annotations") or {}):
        return False
    return service is not None and not service["spec"].get("selector")


def _groups(endpoints: Doc) -> list[Group]:
    groups: list[Group] = []
    for subset in endpoints.get("subsets") or ():
        ports = [{"name": "", "protocol": "TCP", **p} for p in subset.get("ports") or ()]
        by_family: dict[str, Group] = {}
        total = 0
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                total += 1
                if total > PER_SUBSET:
                    break
                family = family_of(address["ip"])
                group = by_family.get(family)
                if group is None:
                    group = by_family[family] = Group(family, ports)
                endpoint: Doc = {
                    "addresses": [address["ip"]],
                    "conditions": {"ready": ready},
                }
                for field_ in ("hostname", "nodeName", "targetRef"):
                    if address.get(field_):
                        endpoint[field_] = address[field_]
                group.endpoints.append(endpoint)
        groups += by_family.values()
    return groups
