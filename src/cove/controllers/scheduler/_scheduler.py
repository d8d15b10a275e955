"""The scheduler: pods without a node, most important first, each bound to its best node.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Mapping
from itertools import count
from typing import Any

from cove.client import Tasks, UnreachableError
from cove.client.meta import key_of
from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS
from cove.controllers.scheduler._nodes import PodInfo
from cove.controllers.scheduler._placement import Placement, UnschedulableError
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["Scheduler"]

log = logging.getLogger("cove.controllers")

Doc = dict[str, Any]

NAME = "default-scheduler"
# Seconds before a pod that found no node is tried again on an event, doubled each time,
# and without any event.
BACKOFF = 1.0
BACKOFF_LIMIT = 10.0
FLUSH = 300.0


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
        self.recorder = context.recorder(NAME)
        self.placement = Placement(context.rng, self._labels_of)
        self._order = count()
        self._active: list[tuple[int, str, int, str]] = []
        self._queued: set[str] = set()
        # Pods that found no node: key → how often in a row.
        self._unschedulable: dict[str, int] = {}
        self._attempts: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._busy = 0
        self.nodes.add_handler(self._node_changed)
        self.pods.add_handler(self._pod_changed)
        self.claims.add_handler(self._claim_changed)

    def _labels_of(self, namespace: str) -> Mapping[str, str]:
        found = self.namespaces.get(None, namespace)
        return (found["metadata"].get("labels") or {}) if found is not None else {}

    # -- what changes

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self.placement.remove_node(old["metadata"]["name"])
        elif self.placement.set_node(new):
            self._retry_all()

    def _claim_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None:
            self._retry_all()

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            self._unschedulable.pop(key_of(old), None)
            self._attempts.pop(key_of(old), None)
            if self.placement.remove_pod(old["metadata"]["uid"]):
                self._retry_all()
            return
        uid = new["metadata"]["uid"]
        if new["spec"].get("nodeName"):
            if new.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                if self.placement.remove_pod(uid):
                    self._retry_all()
                return
            if old is None or old["spec"].get("nodeName") != new["spec"]["nodeName"]:
                self._unschedulable.pop(key_of(new), None)
                self._attempts.pop(key_of(new), None)
                self.placement.add_pod(PodInfo(new))
            elif (
                old["metadata"].get("labels") != new["metadata"].get("labels")
                or ("deletionTimestamp" in new["metadata"])
                != ("deletionTimestamp" in old["metadata"])
                or old["spec"] != new["spec"]
            ):
                self.placement.add_pod(PodInfo(new))
            return
        if not self._ours(new) or self.placement.placed(uid):
            return
        key = key_of(new)
        if old is not None and key in self._unschedulable and old["spec"] == new["spec"]:
            if old["metadata"].get("labels") == new["metadata"].get("labels"):
                return  # its status, written by ourselves
        self._unschedulable.pop(key, None)
        self._push(new)

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

    def _push(self, pod: Doc) -> None:
        key = key_of(pod)
        if key in self._queued or self.queue.closed:
            return
        self._queued.add(key)
        metadata = pod["metadata"]
        heapq.heappush(
            self._active,
            (
                -pod["spec"].get("priority", 0),
                metadata.get("creationTimestamp") or "",
                next(self._order),
                key,
            ),
        )
        self._wake.set()

    def _retry_all(self) -> None:
        """Something got better: those that found no node try again, each after its delay."""
        for key, attempts in self._unschedulable.items():
            self._later(key, min(BACKOFF * 2.0 ** (attempts - 1), BACKOFF_LIMIT))
        self._unschedulable.clear()

    def _later(self, key: str, delay: float) -> None:
        self.queue.add_after(key, delay)

    async def sync(self, key: str) -> None:
        """A delay is over: the pod competes again."""
        pod = self.pods.get_key(key)
        if pod is not None and self._ours(pod):
            if not self.placement.placed(pod["metadata"]["uid"]):
                self._unschedulable.pop(key, None)
                self._push(pod)

    # -- the work

    def start(self, tasks: Tasks) -> None:
        """Workers that place and bind, and one that brings delayed pods back."""
        tasks.start(f"{self.name} delays", self._work())
        for index in range(self.workers):
            tasks.start(f"{self.name} {index}", self._schedule())

    def idle(self) -> bool:
        """Whether no pod waits for a look."""
        return not self._active and not self._busy and self.queue.idle

    async def _schedule(self) -> None:
        for informer in self._informers:
            await informer.synced.wait()
        while True:
            while not self._active:
                self._wake.clear()
                await self._wake.wait()
            key = heapq.heappop(self._active)[3]
            self._queued.discard(key)
            pod = self.pods.get_key(key)
            if pod is None or not self._ours(pod):
                continue
            if self.placement.placed(pod["metadata"]["uid"]):
                continue
            self._busy += 1
            try:
                await self._one(key, pod)
            except (StatusError, UnreachableError) as e:
                log.debug("%s: %s: %s", self.name, key, e)
                self._failed(key)
            except Exception:
                log.exception("%s: %s failed", self.name, key)
                self._failed(key)
            finally:
                self._busy -= 1
            await asyncio.sleep(0)  # others get their turn

    def _failed(self, key: str) -> None:
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        self._later(key, min(BACKOFF * 2.0 ** (attempts - 1), BACKOFF_LIMIT))

    async def _one(self, key: str, pod: Doc) -> None:
        info = PodInfo(pod)
        try:
            self._check_claims(pod)
            node = self.placement.place(info, pod["spec"])
        except UnschedulableError as e:
            await self._tell(key, pod, str(e))
            return
        info.node = node
        # Assumed: the next pod sees this one on its node before the server does.
        self.placement.add_pod(info)
        metadata = pod["metadata"]
        try:
            await self.client.create(
                PODS,
                {
                    "kind": "Binding",
                    "apiVersion": "v1",
                    "metadata": {
                        "name": metadata["name"],
                        "namespace": metadata["namespace"],
                        "uid": metadata["uid"],
                    },
                    "target": {"kind": "Node", "name": node},
                },
                metadata["namespace"],
                name=metadata["name"],
                subresource="binding",
            )
        except BaseException:
            fresh = self.pods.get_key(key)
            if fresh is None or not fresh["spec"].get("nodeName"):
                self.placement.remove_pod(info.uid)
            raise
        self.recorder.event(
            reference(pod, "v1", "Pod"),
            "Normal",
            "Scheduled",
            f"Successfully assigned {key} to {node}",
        )

    def _check_claims(self, pod: Doc) -> None:
        for volume in pod["spec"].get("volumes", ()):
            claim = volume.get("persistentVolumeClaim")
            if claim:
                name = claim["claimName"]
            elif volume.get("ephemeral"):
                name = f"{pod['metadata']['name']}-{volume['name']}"
            else:
                continue
            found = self.claims.get(pod["metadata"]["namespace"], name)
            why = ""
            if found is None:
                why = f'persistentvolumeclaim "{name}" not found'
            elif "deletionTimestamp" in found["metadata"]:
                why = f'persistentvolumeclaim "{name}" is being deleted'
            elif found.get("status", {}).get("phase") == "Lost":
                why = (
                    f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume '
                    f'"{found["spec"].get("volumeName", "")}"'
                )
            elif not found["spec"].get("volumeName"):
                why = "pod has unbound immediate PersistentVolumeClaims"
            if not why:
                continue
            total = sum(1 for n in self.placement.nodes.values() if n.node is not None)
            if total:
                raise UnschedulableError(
                    f"0/{total} nodes are available: {why}. not found"
                    if why.startswith("pod has")
                    else f"0/{total} nodes are available: {why}. preemption: 0/{total} nodes are "
                    f"available: {total} Preemption is not helpful for scheduling."
                )

    async def _tell(self, key: str, pod: Doc, message: str) -> None:
        """The pod waits for better times; its condition and an event say why."""
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        self._unschedulable[key] = attempts
        self.queue.add_after(key, FLUSH)
        self.recorder.event(reference(pod, "v1", "Pod"), "Warning", "FailedScheduling", message)
        known = find(pod.get("status", {}).get("conditions"), "PodScheduled")
        if (
            known is not None
            and known.get("status") == "False"
            and known.get("message") == message
            and known.get("reason") == "Unschedulable"
        ):
            return
        metadata = pod["metadata"]
        condition: Doc = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
        }
        if metadata.get("generation"):
            condition["observedGeneration"] = metadata["generation"]
        if known is None or known.get("status") != "False":
            condition["lastTransitionTime"] = format_time(self.clock.now())
        await self.client.patch(
            PODS,
            metadata["name"],
            {"status": {"conditions": [condition]}, "metadata": {"uid": metadata["uid"]}},
            metadata["namespace"],
            type="strategic",
            subresource="status",
        )
