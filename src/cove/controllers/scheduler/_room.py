"""Making room: preemption as the scheduler carries it out.

Who has to leave is chosen in :mod:`._preemption`; here are who may ask for it, what is
said where it does not help, and the removal itself.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from cove.client import Client, Clock, Informer, Recorder
from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._resources import PODS
from cove.controllers.scheduler._cycle import UnschedulableError
from cove.controllers.scheduler._devices import PodDevices
from cove.controllers.scheduler._nodes import PodInfo
from cove.controllers.scheduler._placement import Placement
from cove.controllers.scheduler._preemption import Candidate, NoCandidateError, choose
from cove.controllers.scheduler._volumes import PodVolumes
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["MakeRoom", "Room"]

Doc = dict[str, Any]

REASON = "PreemptionByScheduler"
# What the plugin for devices says of pods that have none: it is asked first.
NO_DEVICES = "no new claims to deallocate"
STILL_WITHOUT = "still not schedulable"
# And what it says where the cycle ended before it could look at the pod.
NOT_LOOKED_AT = "not found"


@dataclass(frozen=True, slots=True)
class Room:
    """What came of it.  ``node`` None leaves the promised node as it is, "" takes it away."""

    message: str
    node: str | None = None
    candidate: Candidate | None = None


class MakeRoom:
    """Finds and removes the victims of pods that found no node."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        rng: random.Random,
        recorder: Recorder,
        pods: Informer,
        budgets: Informer,
        placement: Placement,
    ) -> None:
        self._client = client
        self._clock = clock
        self._rng = rng
        self._recorder = recorder
        self._pods = pods
        self._budgets = budgets
        self._placement = placement

    def find(
        self,
        pod: Doc,
        info: PodInfo,
        error: UnschedulableError,
        volumes: PodVolumes | None,
        devices: PodDevices | None,
    ) -> Room:
        """The node that can be cleared for the pod, or what to say instead."""
        if not error.total:
            return Room(str(error))
        if error.whole:
            return Room(f"{error} {NOT_LOOKED_AT}")
        told = NO_DEVICES if devices is None else STILL_WITHOUT
        why = self._barred(pod, info, error)
        if why:
            return Room(f"{error} {told}, preemption: {why}")
        try:
            candidate = choose(
                self._placement.cycle(info, pod["spec"], volumes, devices=devices),
                self._placement.nodes,
                error.verdicts,
                list(self._budgets),
                self._rng,
            )
        except NoCandidateError as e:
            return Room(f"{error} {told}, preemption: {e}", "")
        return Room(str(error), candidate.node, candidate)

    def _barred(self, pod: Doc, info: PodInfo, error: UnschedulableError) -> str:
        """Why the pod may not preempt, "" if it may."""
        if pod["spec"].get("preemptionPolicy") == "Never":
            return "not eligible due to preemptionPolicy=Never."
        node = pod.get("status", {}).get("nominatedNodeName")
        if not node or node not in self._placement.nodes:
            return ""
        verdict = error.verdicts.get(node)
        if verdict is not None and not verdict.resolvable:
            return ""
        for other in self._placement.nodes[node].pods.values():
            if other.priority < info.priority and self._leaving(other):
                return "not eligible due to a terminating pod on the nominated node."
        return ""

    def _leaving(self, other: PodInfo) -> bool:
        """Whether a pod is on its way out because of an earlier preemption."""
        pod = self._pods.get_key(other.key)
        if pod is None or "deletionTimestamp" not in pod["metadata"]:
            return False
        condition = find(pod.get("status", {}).get("conditions"), "DisruptionTarget")
        return (
            condition is not None
            and condition.get("status") == "True"
            and condition.get("reason") == REASON
        )

    async def evict(self, pod: Doc, candidate: Candidate) -> None:
        """Delete the victims, each with its grace, and take lesser pods' promises back."""
        lesser = [
            p
            for p in self._placement.nominated.get(candidate.node, {}).values()
            if p.priority < pod["spec"].get("priority", 0)
        ]
        for other in lesser:
            self._placement.forget_nomination(other.uid)
            await self._quietly_patch(other, {"nominatedNodeName": None})
        for victim in candidate.victims:
            await self._evict(pod, victim, candidate.node)

    async def _evict(self, pod: Doc, victim: PodInfo, node: str) -> None:
        found = self._pods.get_key(victim.key)
        if found is None or found["metadata"]["uid"] != victim.uid:
            return
        scheduler = pod["spec"].get("schedulerName", "default-scheduler")
        now = format_time(self._clock.now())
        condition: Doc = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": REASON,
            "message": f"{scheduler}: preempting to accommodate a higher priority pod",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
        if found["metadata"].get("generation"):
            condition["observedGeneration"] = found["metadata"]["generation"]
        known = find(found.get("status", {}).get("conditions"), "DisruptionTarget")
        if known is None or known.get("reason") != REASON or known.get("status") != "True":
            if not await self._quietly_patch(victim, {"conditions": [condition]}):
                return
        namespace, _, name = victim.key.partition("/")
        try:
            await self._client.delete(PODS, name, namespace, uid=victim.uid)
        except StatusError as e:
            if e.code not in (404, 409):
                raise
            return
        self._recorder.event(
            reference(found, "v1", "Pod"),
            "Normal",
            "Preempted",
            f"Preempted by pod {pod['metadata']['uid']} on node {node}",
        )

    async def _quietly_patch(self, info: PodInfo, status: Doc) -> bool:
        """Whether the pod was still there to be patched."""
        namespace, _, name = info.key.partition("/")
        try:
            await self._client.patch(
                PODS,
                name,
                {"status": status, "metadata": {"uid": info.uid}},
                namespace,
                type="strategic",
                subresource="status",
            )
        except StatusError as e:
            # 409: made anew under the same name, and not the one that is meant.
            if e.code not in (404, 409, 422):
                raise
            return False
        return True
