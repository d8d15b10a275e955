"""The scheduler: pods without a node, most important first, each bound to its best node.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from cove.client import Tasks, UnreachableError
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import (
    CSI_NODES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_CLAIMS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
)
from cove.controllers.scheduler._binding import BindingError, VolumeBinding, bind
from cove.controllers.scheduler._defaults import Defaults
from cove.controllers.scheduler._devices import Devices, NotYetError, PodDevices
from cove.controllers.scheduler._nodes import PodInfo
from cove.controllers.scheduler._placement import EXACT, Placement, UnschedulableError
from cove.controllers.scheduler._queue import SchedulingQueue
from cove.controllers.scheduler._room import MakeRoom, Room
from cove.controllers.scheduler._telling import Teller
from cove.controllers.scheduler._volumes import ClaimsError, Decision, PodVolumes, Volumes
from cove.kube.status import StatusError

__all__ = ["Scheduler"]

log = logging.getLogger("cove.controllers")

Doc = dict[str, Any]

NAME = "default-scheduler"


class Scheduler(Controller):
    """Binds pods to nodes."""

    name = NAME
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.nodes = self.informer(NODES)
        self.pods = self.informer(PODS)
        self.namespaces = self.informer(NAMESPACES)
        self.claims = self.informer(PERSISTENT_VOLUME_CLAIMS)
        volumes, classes = self.informer(PERSISTENT_VOLUMES), self.informer(STORAGE_CLASSES)
        csi_nodes = self.informer(CSI_NODES)
        self.volumes = Volumes(self.claims, volumes, classes, csi_nodes)
        device_claims = self.informer(RESOURCE_CLAIMS)
        self.devices = Devices(self.client, device_claims)
        self.recorder = context.recorder(NAME)
        self.teller = Teller(self.client, self.clock, self.recorder)
        self.placement = Placement(context.rng, self._labels_of)
        self.room = MakeRoom(
            self.client,
            self.clock,
            context.rng,
            self.recorder,
            self.pods,
            self.informer(POD_DISRUPTION_BUDGETS),
            self.placement,
        )
        self.waiting = SchedulingQueue(self.clock, self.queue.add_after)
        self._defaults = Defaults(
            self.informer(SERVICES),
            {
                "ReplicaSet": self.informer(REPLICA_SETS),
                "ReplicationController": self.informer(REPLICATION_CONTROLLERS),
                "StatefulSet": self.informer(STATEFUL_SETS),
            },
        )
        self._binding = VolumeBinding(self.client, self.clock, self.claims)
        self._tasks: Tasks | None = None
        self._busy = 0
        self.nodes.add_handler(self._node_changed)
        self.pods.add_handler(self._pod_changed)
        self.namespaces.add_handler(self._namespace_changed)
        self.claims.add_handler(self._claim_changed)
        events = (
            (volumes, "volume"),
            (classes, "class"),
            (csi_nodes, "csi"),
            (device_claims, "device claim"),
        )
        for informer, event in events:
            informer.add_handler(self._event(event))

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        found = self.namespaces.get(None, namespace)
        return (found["metadata"].get("labels") or {}) if found is not None else {}

    # -- what changes

    def _event(self, event: str) -> Any:
        def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
            if new is not None:
                self.waiting.changed(event, self._candidate)

        return handle

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self.placement.remove_node(old["metadata"]["name"])
            self.waiting.changed("node gone", self._candidate)
        elif self.placement.set_node(new):
            self.waiting.changed("node", self._candidate)

    def _namespace_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if old is not None and new is not None:
            if old["metadata"].get("labels") != new["metadata"].get("labels"):
                self.waiting.changed("namespace", self._candidate)

    def _claim_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        self._binding.changed()
        if new is not None:
            self.waiting.changed("claim", self._candidate)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self._gone(old)
            self.waiting.forget(key_of(old))
            return
        if new["spec"].get("nodeName"):
            self._placed(old, new)
            return
        key = key_of(new)
        if not self._ours(new):
            self.waiting.forget(key)
            return
        uid = new["metadata"]["uid"]
        nominated = new.get("status", {}).get("nominatedNodeName", "")
        if nominated or (old is not None and old.get("status", {}).get("nominatedNodeName")):
            self.placement.nominate(PodInfo(new), nominated)
        if self.placement.placed(uid):
            return
        if old is not None and self.waiting.waits(key) and old["spec"] == new["spec"]:
            claims = "resourceClaimStatuses"
            if old["metadata"].get("labels") == new["metadata"].get("labels"):
                if old.get("status", {}).get(claims) == new.get("status", {}).get(claims):
                    return  # its status, written by ourselves
        self.waiting.push(new)

    def _gone(self, pod: Doc) -> None:
        """A pod takes no room any more: it was deleted or has ended."""
        uid = pod["metadata"]["uid"]
        self.placement.forget_nomination(uid)
        if self.placement.remove_pod(uid):
            self.waiting.changed("pod gone", self._candidate)

    def _placed(self, old: Doc | None, new: Doc) -> None:
        if new.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            self._gone(new)
            return
        if old is None or old["spec"].get("nodeName") != new["spec"]["nodeName"]:
            self.waiting.forget(key_of(new))
            self.placement.forget_nomination(new["metadata"]["uid"])
            self.placement.add_pod(PodInfo(new))
            self.waiting.changed("pod placed", self._candidate)
            return
        before, after = old["metadata"], new["metadata"]
        labels = before.get("labels") != after.get("labels")
        if (
            labels
            or ("deletionTimestamp" in after) != ("deletionTimestamp" in before)
            or old["spec"] != new["spec"]
            or old.get("status", {}).get("startTime") != new.get("status", {}).get("startTime")
        ):
            self.placement.add_pod(PodInfo(new))
            if labels:
                self.waiting.changed("pod placed", self._candidate)
            elif old["spec"] != new["spec"]:
                # Resized in place: it may have become smaller.
                self.waiting.changed("pod gone", self._candidate)

    @staticmethod
    def _ours(pod: Doc) -> bool:
        spec = pod["spec"]
        return (
            spec.get("schedulerName", NAME) == NAME
            and not spec.get("nodeName")
            and not spec.get("schedulingGates")
            and "deletionTimestamp" not in pod["metadata"]
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        )

    # -- the queue

    def _candidate(self, key: str) -> Doc | None:
        """The pod of a key if it still has to be placed."""
        pod = self.pods.get_key(key)
        if pod is None or not self._ours(pod) or self.placement.placed(pod["metadata"]["uid"]):
            return None
        return pod

    async def sync(self, key: str) -> None:
        """A delay is over: the pod competes again."""
        pod = self._candidate(key)
        if pod is not None:
            self.waiting.push(pod)

    # -- the work

    def start(self, tasks: Tasks) -> None:
        """Workers that place and bind, and one that brings delayed pods back."""
        self._tasks = tasks
        tasks.start(f"{self.name} delays", self._work())
        for index in range(self.workers):
            tasks.start(f"{self.name} {index}", self._schedule())

    def stop(self) -> None:
        """Take no more pods."""
        self.waiting.closed = True
        super().stop()

    def idle(self) -> bool:
        """Whether no pod waits for a look."""
        return not len(self.waiting) and not self._busy and self.queue.idle

    async def _schedule(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        while True:
            key = await self.waiting.pop()
            pod = self._candidate(key)
            if pod is not None:
                await self._guarded(key, pod, self._one(key, pod))
                await asyncio.sleep(0)  # others get their turn

    async def _guarded(self, key: str, pod: Doc, work: Any) -> None:
        """Do one pod's work; what goes wrong with it is tried again later."""
        self._busy += 1
        try:
            await work
        except (StatusError, UnreachableError) as e:
            log.debug("%s: %s: %s", self.name, key, e)
            self.waiting.failed(key)
        except BindingError as e:
            await self._fail(key, pod, f'running PreBind plugin "VolumeBinding": {e}')
        except Exception:
            # The boundary of one pod: its fault must not end the worker of all others.
            log.exception("%s: %s failed", self.name, key)
            self.waiting.failed(key)
        finally:
            self._busy -= 1

    async def _fail(self, key: str, pod: Doc, message: str) -> None:
        self.waiting.failed(key)
        try:
            await self.teller.tell(pod, message, reason="SchedulerError")
        except (StatusError, UnreachableError) as e:
            log.debug("%s: %s: %s", self.name, key, e)

    async def _one(self, key: str, pod: Doc) -> None:
        info = PodInfo(pod)
        volumes: PodVolumes | None = None
        try:
            devices = self.devices.of(pod)
        except NotYetError:
            self.waiting.unschedulable(key, ("DynamicResources",))
            return
        try:
            try:
                volumes = self.volumes.of(pod, info)
            except ClaimsError as e:
                total = len(self.placement.known)
                raise UnschedulableError(total, {}, whole=str(e), plugin="VolumeBinding") from None
            # One node has no rival, and many are not all compared.
            compared = 1 < len(self.placement.nodes) <= EXACT
            defaults = self._defaults.of(pod) if compared else ()
            node = self.placement.place(
                info, pod["spec"], volumes=volumes, devices=devices, defaults=defaults
            )
        except UnschedulableError as e:
            self.waiting.unschedulable(key, e.plugins)
            room = self.room.find(pod, info, e, volumes, devices)
            await self._make_room(pod, info, room)
            return
        info.node = node
        decision = volumes.decide(self.placement.nodes[node]) if volumes is not None else None
        # Assumed: the next pod sees this one on its node before the server does.
        self.placement.add_pod(info)
        if not decision:
            await self._bind(key, pod, info, None, devices)
            return
        for claim, volume in decision.bindings:
            self.volumes.assumed[volume["metadata"]["name"]] = claim["metadata"]["uid"]
        # Volumes take their time: others are placed meanwhile.
        assert self._tasks is not None
        self._tasks.start(
            f"{self.name} binds {key}",
            self._guarded(key, pod, self._bind(key, pod, info, decision, devices)),
        )

    async def _bind(
        self,
        key: str,
        pod: Doc,
        info: PodInfo,
        decision: Decision | None,
        devices: PodDevices | None,
    ) -> None:
        try:
            if devices is not None:
                await self.devices.reserve(pod, devices)
            if decision is not None:
                await self._binding.carry_out(decision, info.node)
            await bind(self.client, pod, info.node)
        except BaseException:
            fresh = self.pods.get_key(key)
            if fresh is None or not fresh["spec"].get("nodeName"):
                self.placement.remove_pod(info.uid)
            raise
        finally:
            for _, volume in decision.bindings if decision is not None else ():
                self.volumes.assumed.pop(volume["metadata"]["name"], None)
        self.recorder.event(
            reference(pod, "v1", "Pod"),
            "Normal",
            "Scheduled",
            f"Successfully assigned {key} to {info.node}",
        )

    # -- without a node

    async def _make_room(self, pod: Doc, info: PodInfo, room: Room) -> None:
        """Tell of it, promise the pod its room, and have those leave that are in the way."""
        if room.candidate is not None:
            self.placement.nominate(info, room.candidate.node)
            await self.room.evict(pod, room.candidate)
        elif room.node == "":
            self.placement.forget_nomination(info.uid)
        await self.teller.tell(pod, room.message, nominated=room.node)
