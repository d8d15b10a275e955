"""Pod garbage collection: finished pods beyond a number, and pods whose node is gone.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection
"""

from __future__ import annotations

from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import NODES, PODS
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["PodGarbageCollector"]

Doc = dict[str, Any]

ROUND = "/round"
# Upstream's period, --terminated-pod-gc-threshold, and how long a node may be missing.
PERIOD = 20.0
THRESHOLD = 12500
QUARANTINE = 40.0


class PodGarbageCollector(Controller):
    """The one key is ``/round``."""

    name = "pod-garbage-collector"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.informer(PODS)
        self.nodes = self.informer(NODES)
        self._missing: dict[str, float] = {}
        self.queue.add_after(ROUND, PERIOD)

    async def sync(self, key: str) -> None:
        """All pods."""
        self.queue.add_after(ROUND, PERIOD)
        now = self.clock.monotonic()
        names = {n["metadata"]["name"] for n in self.nodes}
        missing: dict[str, float] = {}
        finished: list[Doc] = []
        for pod in self.pods:
            node = pod["spec"].get("nodeName")
            if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                finished.append(pod)
            if node and node not in names:
                since = missing[node] = self._missing.get(node, now)
                if now - since >= QUARANTINE and await self._node_gone(node):
                    await self._delete(pod, "PodGC: node no longer exists")
            elif not node and "deletionTimestamp" in pod["metadata"]:
                await self._delete(pod, "")
        self._missing = missing
        surplus = len(finished) - THRESHOLD
        if surplus > 0:
            finished.sort(key=lambda p: p["metadata"].get("creationTimestamp") or "")
            for pod in finished[:surplus]:
                await self._delete(pod, "")

    async def _node_gone(self, name: str) -> bool:
        try:
            await self.client.get(NODES, name)
        except StatusError as e:
            return e.code == 404
        return False

    async def _delete(self, pod: Doc, disruption: str) -> None:
        metadata = pod["metadata"]
        phase = pod.get("status", {}).get("phase")
        try:
            if phase not in ("Succeeded", "Failed"):
                # Whoever counts on the pod shall see that it ended.
                status: Doc = {"phase": "Failed"}
                if disruption:
                    condition: Doc = {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByPodGC",
                        "message": disruption,
                        "lastTransitionTime": format_time(self.clock.now()),
                    }
                    if metadata.get("generation"):
                        condition["observedGeneration"] = metadata["generation"]
                    status["conditions"] = [condition]
                await self.client.patch(
                    PODS,
                    metadata["name"],
                    {"metadata": {"uid": metadata["uid"]}, "status": status},
                    metadata["namespace"],
                    type="strategic",
                    subresource="status",
                )
            await self.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace=0, uid=metadata["uid"]
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise
