"""Service CIDRs: ranges of service addresses are ready, and stay while addresses need them.

Source: https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import IP_ADDRESSES, SERVICE_CIDRS
from cove.kube.times import format_time

__all__ = ["ServiceCIDRs"]

Doc = dict[str, Any]

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
# Seconds in which servers that have not seen the deletion may still give out an address.
GRACE = 10.0


class ServiceCIDRs(Controller):
    """Keys are ranges."""

    name = "service-cidr-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.ranges = self.informer(SERVICE_CIDRS)
        self.addresses = self.informer(IP_ADDRESSES)
        self.watch_own(self.ranges)
        self.addresses.add_handler(self._address_changed)

    def _address_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            for one in self.ranges:
                if "deletionTimestamp" in one["metadata"]:
                    self.queue.add(one["metadata"]["name"])

    async def sync(self, key: str) -> None:
        """One range."""
        one = self.ranges.get(None, key)
        if one is None:
            return
        metadata = one["metadata"]
        finalizers = metadata.get("finalizers") or []
        if "deletionTimestamp" not in metadata:
            if FINALIZER not in finalizers:
                metadata = {**metadata, "finalizers": [*finalizers, FINALIZER]}
                one = await self.client.update(SERVICE_CIDRS, {**one, "metadata": metadata})
            ready = find(one.get("status", {}).get("conditions"), "Ready")
            if ready is None or ready.get("status") != "True":
                await self._ready(one, "True", "", "Kubernetes Service CIDR is ready")
            return
        if FINALIZER not in finalizers:
            return
        if self._needed(one):
            await self._ready(
                one,
                "False",
                "Terminating",
                "There are still IPAddresses referencing the ServiceCIDR, please remove them or "
                "create a new ServiceCIDR",
            )
            return
        wait = GRACE - seconds_since(metadata["deletionTimestamp"], self.clock.now())
        if wait > 0:
            self.queue.add_after(key, wait)
            return
        left = [f for f in finalizers if f != FINALIZER]
        await self.client.update(
            SERVICE_CIDRS, {**one, "metadata": {**metadata, "finalizers": left}}
        )

    def _needed(self, one: Doc) -> bool:
        """Whether an address lies in this range and in no other that stays."""
        own = _networks(one)
        others = [
            network
            for other in self.ranges
            if other["metadata"]["name"] != one["metadata"]["name"]
            and "deletionTimestamp" not in other["metadata"]
            for network in _networks(other)
        ]
        for address in self.addresses:
            found = ip_address(address["metadata"]["name"])
            if any(found in n for n in own) and not any(found in n for n in others):
                return True
        return False

    async def _ready(self, one: Doc, value: str, reason: str, message: str) -> None:
        status = one.get("status") or {}
        known = find(status.get("conditions"), "Ready")
        fresh = {
            "type": "Ready",
            "status": value,
            "lastTransitionTime": format_time(self.clock.now()),
            "reason": reason,
            "message": message,
        }
        if known is not None and all(known.get(k) == fresh[k] for k in ("status", "message")):
            return
        conditions = [c for c in status.get("conditions") or () if c is not known]
        await self.client.update(
            SERVICE_CIDRS,
            {**one, "status": {**status, "conditions": [*conditions, fresh]}},
            subresource="status",
        )


def _networks(one: Doc) -> Iterable[IPv4Network | IPv6Network]:
    return [ip_network(text) for text in one["spec"].get("cidrs") or ()]
