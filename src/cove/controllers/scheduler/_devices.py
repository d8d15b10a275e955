"""Claims of devices: a pod goes only where what was allocated to it can be reached.

Devices are not allocated here: a claim that nobody has allocated keeps its pod waiting.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from typing import Any

from cove.client import Client, Informer
from cove.controllers._resources import RESOURCE_CLAIMS
from cove.controllers.scheduler._filters import matches_terms
from cove.controllers.scheduler._nodes import NodeInfo

__all__ = ["Devices", "NotYetError", "PodDevices"]

Doc = dict[str, Any]

UNALLOCATED = "cannot allocate all claims"
UNREACHABLE = "resourceclaim not available on the node"


class NotYetError(Exception):
    """A claim of the pod is still to be made: the pod waits, and nothing is said of it."""


class PodDevices:
    """One pod's claims."""

    def __init__(self, claims: list[Doc]) -> None:
        self.claims = claims

    def reason(self, node: NodeInfo) -> str:
        """Why the node does not do, "" if it does."""
        for claim in self.claims:
            allocation = (claim.get("status") or {}).get("allocation")
            if not allocation:
                return UNALLOCATED
            selector = allocation.get("nodeSelector")
            if selector and not matches_terms(selector, node):
                return UNREACHABLE
        return ""


class Devices:
    """The claims as the scheduler sees them."""

    def __init__(self, client: Client, claims: Informer) -> None:
        self._client = client
        self._claims = claims

    def of(self, pod: Doc) -> PodDevices | None:
        """A pod's claims, None for a pod without; raises NotYetError."""
        wanted = pod["spec"].get("resourceClaims")
        if not wanted:
            return None
        made = {
            s["name"]: s.get("resourceClaimName")
            for s in pod.get("status", {}).get("resourceClaimStatuses") or ()
        }
        claims = []
        for one in wanted:
            if one.get("resourceClaimName"):
                name = one["resourceClaimName"]
            elif one["name"] not in made:
                raise NotYetError
            else:
                name = made[one["name"]]
                if not name:
                    continue  # its template asks for nothing
            claim = self._claims.get(pod["metadata"]["namespace"], name)
            if claim is None or "deletionTimestamp" in claim["metadata"]:
                raise NotYetError
            claims.append(claim)
        return PodDevices(claims)

    async def reserve(self, pod: Doc, devices: PodDevices) -> None:
        """Note in each claim that the pod uses it."""
        metadata = pod["metadata"]
        consumer = {"resource": "pods", "name": metadata["name"], "uid": metadata["uid"]}
        for claim in devices.claims:
            status = claim.get("status") or {}
            held = status.get("reservedFor") or []
            if any(r.get("uid") == metadata["uid"] for r in held):
                continue
            await self._client.update(
                RESOURCE_CLAIMS,
                {**claim, "status": {**status, "reservedFor": [*held, consumer]}},
                subresource="status",
            )
