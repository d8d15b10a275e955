"""What is said of a pod that found no node: an event, and a condition.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from typing import Any

from cove.client import Client, Clock, Recorder
from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._resources import PODS
from cove.kube.times import format_time

__all__ = ["Teller"]

Doc = dict[str, Any]


class Teller:
    """Tells."""

    def __init__(self, client: Client, clock: Clock, recorder: Recorder) -> None:
        self._client = client
        self._clock = clock
        self._recorder = recorder

    async def tell(
        self,
        pod: Doc,
        message: str,
        *,
        reason: str = "Unschedulable",
        nominated: str | None = None,
    ) -> None:
        """The pod waits for better times; its condition and an event say why.

        ``nominated`` None leaves the promised node as it is, "" takes it away.
        """
        self._recorder.event(reference(pod, "v1", "Pod"), "Warning", "FailedScheduling", message)
        status = pod.get("status", {})
        changed: Doc = {}
        if nominated is not None and nominated != status.get("nominatedNodeName", ""):
            changed["nominatedNodeName"] = nominated or None
        known = find(status.get("conditions"), "PodScheduled")
        if (
            known is None
            or known.get("status") != "False"
            or known.get("message") != message
            or known.get("reason") != reason
        ):
            changed["conditions"] = [self._condition(pod, known, reason, message)]
        if not changed:
            return
        metadata = pod["metadata"]
        await self._client.patch(
            PODS,
            metadata["name"],
            {"status": changed, "metadata": {"uid": metadata["uid"]}},
            metadata["namespace"],
            type="strategic",
            subresource="status",
        )

    def _condition(self, pod: Doc, known: Doc | None, reason: str, message: str) -> Doc:
        condition: Doc = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastProbeTime": None,
        }
        if pod["metadata"].get("generation"):
            condition["observedGeneration"] = pod["metadata"]["generation"]
        if known is None or known.get("status") != "False":
            condition["lastTransitionTime"] = format_time(self._clock.now())
        return condition
