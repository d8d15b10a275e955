"""ReplicaSet: as many pods of a template as were asked for.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

import asyncio
from typing import Any

from cove.client.meta import controller_of, key_of
from cove.controllers._conditions import seconds_since
from cove.controllers._controller import Context, Controller
from cove.controllers._expectations import Expectations
from cove.controllers._pods import (
    Owner,
    PodControl,
    available,
    by_controller,
    claim,
    deletion_rank,
    is_active,
    is_ready,
    namespace_terminating,
    ready_condition,
    select,
    template_object,
)
from cove.controllers._resources import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS
from cove.kube.gvk import GVR
from cove.kube.labels import Selector, from_document, from_map
from cove.kube.status import StatusError
from cove.kube.times import format_time

__all__ = ["ReplicaSetController", "ReplicationController"]

Doc = dict[str, Any]

# At most this many pods are made or removed in one go.
BURST = 500
# A set of many pods is not counted anew for each of them: changes are gathered for a
# second per this many pods, at most one.
GATHER = 2000.0
SMALL = 50


class ReplicaSetController(Controller):
    """Makes, removes, adopts and releases pods, and counts them in the status."""

    name = "replicaset-controller"
    gvr: GVR = REPLICA_SETS
    kind = "ReplicaSet"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.informer(self.gvr)
        self.sets.add_index("controller", by_controller)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.control = PodControl(self.client, context.recorder(self.name))
        self.expectations = Expectations(self.clock)
        self.watch_own(self.sets)
        self.pods.add_handler(self._pod_changed)

    def selector(self, obj: Doc) -> Selector:
        """What its pods are found by."""
        return from_document(obj["spec"].get("selector"))

    def _owner_key(self, pod: Doc) -> str | None:
        owner = controller_of(pod)
        if owner is None or owner["kind"] != self.kind:
            return None
        key = f"{pod['metadata']['namespace']}/{owner['name']}"
        known = self.sets.get_key(key)
        if known is not None and known["metadata"]["uid"] != owner["uid"]:
            return None
        return key

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None:
            assert old is not None
            key = self._owner_key(old)
            if key is not None:
                self.expectations.deleted(key, old["metadata"]["uid"])
                self.queue.add(key)
            return
        key = self._owner_key(new)
        if "deletionTimestamp" in new["metadata"]:
            # Graceful deletions count from their start.
            if key is not None:
                self.expectations.deleted(key, new["metadata"]["uid"])
                self.queue.add(key)
            return
        before = self._owner_key(old) if old is not None else None
        if before is not None and before != key:
            self.queue.add(before)
        if key is not None:
            if old is None or before != key:
                self.expectations.created(key)
                if self.expectations.satisfied(key):
                    self.queue.add(key)
                else:
                    self._gather(key, new)
            elif _counted(old) != _counted(new):
                self._gather(key, new)
            seconds = 0
            if old is not None and not is_ready(old) and is_ready(new):
                owner = self.sets.get_key(key)
                seconds = owner["spec"].get("minReadySeconds", 0) if owner else 0
            if seconds:
                # Ready now, available later, and nobody tells when.
                self.queue.add_after(key, seconds + 1)
            return
        if controller_of(new) is None:
            self._orphan_changed(old, new)

    def _gather(self, key: str, pod: Doc) -> None:
        owner = controller_of(pod)
        size = self.pods.count("controller", owner["uid"]) if owner is not None else 0
        if size < SMALL:
            self.queue.add(key)
        else:
            self.queue.add_after(key, min(size / GATHER, 1.0))

    def _orphan_changed(self, old: Doc | None, new: Doc) -> None:
        metadata = new["metadata"]
        if old is not None and controller_of(old) is None:
            if old["metadata"].get("labels") == metadata.get("labels"):
                return
        labels = metadata.get("labels")
        if not labels:
            return
        for obj in self.sets.list(metadata["namespace"]):
            selector = self.selector(obj)
            if not selector.empty and selector.matches(labels):
                self.queue.add(key_of(obj))

    async def sync(self, key: str) -> None:
        """One set: claim, make or remove, count."""
        obj = self.sets.get_key(key)
        if obj is None:
            self.expectations.forget(key)
            return
        metadata = obj["metadata"]
        settled = self.expectations.satisfied(key)
        owner = Owner(obj, self.gvr, self.kind)
        selector = self.selector(obj)
        candidates = self.pods.indexed("controller", metadata["uid"])
        orphans = self.pods.indexed("controller", f"orphan/{metadata['namespace']}")
        owned = [p for p in candidates if "deletionTimestamp" in p["metadata"]]
        pods = await claim(
            self.client,
            PODS,
            owner,
            [p for p in (*candidates, *orphans) if is_active(p)],
            select(selector),
        )
        terminating = sum(
            1 for p in owned if p.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        )
        error: StatusError | None = None
        if settled and "deletionTimestamp" not in metadata:
            try:
                await self._manage(key, owner, pods)
            except StatusError as e:
                error = e
        await self._update_status(obj, pods, terminating, error)
        if error is not None:
            raise error

    async def _manage(self, key: str, owner: Owner, pods: list[Doc]) -> None:
        wanted = owner.obj["spec"].get("replicas", 1)
        missing = wanted - len(pods)
        if missing > 0:
            missing = min(missing, BURST)
            self.expectations.expect(key, adds=missing)
            await self._create(key, owner, missing)
            return
        if missing == 0:
            return
        surplus = min(-missing, BURST)
        doomed = self._choose(owner, pods, surplus)
        self.expectations.expect(key, deletions=[p["metadata"]["uid"] for p in doomed])
        results = await asyncio.gather(
            *(self.control.delete(owner, pod) for pod in doomed), return_exceptions=True
        )
        failure: BaseException | None = None
        for pod, result in zip(doomed, results, strict=True):
            if isinstance(result, BaseException):
                self.expectations.deleted(key, pod["metadata"]["uid"])
                if not (isinstance(result, StatusError) and result.code == 404):
                    failure = failure or result
        if failure is not None:
            raise failure

    async def _create(self, key: str, owner: Owner, count: int) -> None:
        """In batches of 1, 2, 4, …: what is refused is refused once, not five hundred times."""
        pod = template_object(owner.obj["spec"]["template"], owner)
        done, batch = 0, 1
        while done < count:
            batch = min(batch, count - done)
            results = await asyncio.gather(
                *(self.control.create(owner, pod) for _ in range(batch)), return_exceptions=True
            )
            done += batch
            failures = [r for r in results if isinstance(r, BaseException)]
            if failures:
                self.expectations.created(key, len(failures) + count - done)
                error = failures[0]
                if isinstance(error, StatusError) and namespace_terminating(error):
                    return
                raise error
            batch *= 2

    def _choose(self, owner: Owner, pods: list[Doc], surplus: int) -> list[Doc]:
        if surplus >= len(pods):
            return pods
        together = self._together(owner, pods)
        ranked = sorted(
            pods,
            key=lambda p: deletion_rank(p, together.get(p["spec"].get("nodeName", ""), 0)),
        )
        return ranked[:surplus]

    def _together(self, owner: Owner, pods: list[Doc]) -> dict[str, int]:
        """How many pods of related sets (of the same Deployment) run on each node."""
        related = pods
        parent = controller_of(owner.obj)
        if parent is not None:
            related = []
            for sibling in self.sets.indexed("controller", parent["uid"]):
                related += self.pods.indexed("controller", sibling["metadata"]["uid"])
        counts: dict[str, int] = {}
        for pod in related:
            node = pod["spec"].get("nodeName", "")
            if node and is_active(pod):
                counts[node] = counts.get(node, 0) + 1
        return counts

    async def _update_status(
        self, obj: Doc, pods: list[Doc], terminating: int, error: StatusError | None
    ) -> None:
        old = obj.get("status", {})
        status = self._status(obj, pods, terminating, error)
        key = key_of(obj)
        seconds = obj["spec"].get("minReadySeconds", 0)
        if status != old:
            written = {k: v for k, v in obj.items() if k != "status"}
            written["status"] = status
            await self.client.update(self.gvr, written, subresource="status")
        if (
            seconds
            and status.get("readyReplicas", 0) == obj["spec"].get("replicas", 1)
            and status.get("availableReplicas", 0) != obj["spec"].get("replicas", 1)
        ):
            self.queue.add_after(key, self._until_available(pods, seconds))

    def _until_available(self, pods: list[Doc], seconds: int) -> float:
        now = self.clock.now()
        waits = []
        for pod in pods:
            condition = ready_condition(pod)
            if condition is not None and condition.get("status") == "True":
                left = seconds - seconds_since(condition.get("lastTransitionTime"), now)
                if left > 0:
                    waits.append(left)
        return min(waits, default=float(seconds))

    def _status(
        self, obj: Doc, pods: list[Doc], terminating: int, error: StatusError | None
    ) -> Doc:
        spec, old = obj["spec"], obj.get("status", {})
        now = self.clock.now()
        seconds = spec.get("minReadySeconds", 0)
        wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        labels = from_map(wanted)
        labelled = ready = usable = 0
        for pod in pods:
            if labels.matches(pod["metadata"].get("labels")):
                labelled += 1
            if is_ready(pod):
                ready += 1
                if available(pod, seconds, now):
                    usable += 1
        status: Doc = {"replicas": len(pods)}
        if labelled:
            status["fullyLabeledReplicas"] = labelled
        if ready:
            status["readyReplicas"] = ready
        if usable:
            status["availableReplicas"] = usable
        if self.gvr is REPLICA_SETS:
            status["terminatingReplicas"] = terminating
        status["observedGeneration"] = max(
            obj["metadata"].get("generation", 0), old.get("observedGeneration", 0)
        )
        conditions = [c for c in old.get("conditions", ()) if c["type"] != "ReplicaFailure"]
        if error is not None:
            missing = spec.get("replicas", 1) - len(pods)
            known = next(
                (c for c in old.get("conditions", ()) if c["type"] == "ReplicaFailure"), None
            )
            conditions.append(
                known
                or {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "lastTransitionTime": format_time(now),
                    "reason": "FailedCreate" if missing > 0 else "FailedDelete",
                    "message": error.message,
                }
            )
        if conditions:
            status["conditions"] = conditions
        return status


def _counted(pod: Doc) -> tuple[Any, ...]:
    """What of a pod shows in its set's status, or makes it another's."""
    status = pod.get("status", {})
    return status.get("phase"), is_ready(pod), pod["metadata"].get("labels")


class ReplicationController(ReplicaSetController):
    """ReplicationController: ReplicaSet's elder, with a plain map as its selector.

    Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/
    """

    name = "replication-controller"
    gvr = REPLICATION_CONTROLLERS
    kind = "ReplicationController"

    def selector(self, obj: Doc) -> Selector:
        """What its pods are found by."""
        return from_map(obj["spec"].get("selector"))
