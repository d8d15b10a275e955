"""Counting a Job's pods.

Every pod carries a finalizer until its end has been counted: first its uid is noted in
``uncountedTerminatedPods``, then the finalizer goes, then the counter grows.  A crash in
between loses nothing and counts nothing twice.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cove.controllers._conditions import find
from cove.controllers._pods import (
    Owner,
)
from cove.controllers._resources import JOBS, PODS
from cove.controllers.job._policy import (
    failure_action,
    format_indexes,
    index_of,
    parse_indexes,
)
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time

if TYPE_CHECKING:
    from cove.controllers.job._controller import JobController

__all__ = ["FAILURES", "FINALIZER", "IGNORED", "Tally", "has_finalizer", "outcome"]

Doc = dict[str, Any]

FINALIZER = "batch.kubernetes.io/job-tracking"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def has_finalizer(pod: Doc) -> bool:
    """Whether the pod has yet to be counted."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def outcome(job: Doc) -> str:
    """Complete, Failed, or "" while it runs."""
    for type in ("Complete", "Failed"):
        condition = find(job.get("status", {}).get("conditions"), type)
        if condition is not None and condition.get("status") == "True":
            return type
    return ""


def _phase(pod: Doc) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def _number(pod: Doc, annotation: str) -> int:
    """A count in an annotation, 0 without."""
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdigit() else 0


class Tally:
    """One look at one Job: ``status`` is what it is to become."""

    def __init__(self, controller: JobController, key: str, job: Doc) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.job = job
        self.spec: Doc = job["spec"]
        self.owner = Owner(job, JOBS, "Job")
        self.now: datetime = controller.clock.now()
        self.stamp = format_time(self.now)
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.completions: int | None = self.spec.get("completions")
        self.parallelism = int(self.spec.get("parallelism", 1))
        # Only pods that have wholly ended are replaced and counted.
        self.only_failed = self.spec.get("podReplacementPolicy") == "Failed" or bool(
            self.spec.get("podFailurePolicy")
        )
        self.pods: list[Doc] = []
        self.active: list[Doc] = []
        self.status: Doc = {}
        # Filled by the count: uids still to be counted, completed and failed indexes (None
        # without a limit per index), and the message of a rule that fails the Job.
        self.uncounted: Doc = {}
        self.indexes: set[int] = set()
        self.failed_indexes: set[int] | None = None
        self.fail_message = ""
        # Index → its last failed pod, kept until another has its number of failures.
        self.delayed: dict[int, Doc] = {}

    # -- pods

    @staticmethod
    def _is_active(pod: Doc) -> bool:
        return (
            pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            and "deletionTimestamp" not in pod["metadata"]
        )

    def _has_failed(self, pod: Doc) -> bool:
        phase = pod.get("status", {}).get("phase")
        if phase == "Failed":
            return True
        if self.only_failed:
            return False
        # A pod that is deleted may never get to tell that it failed.
        return "deletionTimestamp" in pod["metadata"] and phase != "Succeeded"

    @staticmethod
    def _is_terminating(pod: Doc) -> bool:
        return "deletionTimestamp" in pod["metadata"] and _phase(pod) not in ("Succeeded", "Failed")

    def _terminating(self) -> int:
        return sum(map(self._is_terminating, self.pods))

    async def _drop_finalizer(self, pod: Doc) -> bool:
        metadata = pod["metadata"]
        patch = {
            "metadata": {
                "uid": metadata["uid"],
                "$deleteFromPrimitiveList/finalizers": [FINALIZER],
            }
        }
        try:
            await self.client.patch(
                PODS, metadata["name"], patch, metadata["namespace"], type="strategic"
            )
        except StatusError as e:
            if e.code not in (404, 409):
                return False
        return True

    async def _let_go(self, pods: list[Doc]) -> None:
        """A finished Job holds no pods."""
        held = [p for p in pods if has_finalizer(p)]
        await asyncio.gather(*(self._drop_finalizer(p) for p in held))

    # -- counting

    async def _count(self, *, decided: bool = False) -> None:
        """Count the pods that ended since the last look; all of them of a decided Job."""
        status = self.status
        uncounted = status.get("uncountedTerminatedPods") or {}
        known = {
            "succeeded": list(uncounted.get("succeeded") or ()),
            "failed": list(uncounted.get("failed") or ()),
        }
        noted = {*known["succeeded"], *known["failed"]}
        total = self.completions or 0
        indexes = parse_indexes(status.get("completedIndexes"), total) if self.indexed else set()
        failed_indexes = self._judge()
        self.delayed = {}
        if failed_indexes is not None and not decided:
            succeeded = {index_of(p) for p in self.pods if _phase(p) == "Succeeded"}
            self._delay(indexes | succeeded | failed_indexes)
        kept = {p["metadata"]["uid"] for p in self.delayed.values()}
        ended: list[Doc] = []
        fresh = False
        for pod in self.pods:
            uid = pod["metadata"]["uid"]
            if not has_finalizer(pod) or uid in kept:
                continue
            index = index_of(pod)
            if _phase(pod) == "Succeeded":
                ended.append(pod)
                if self.indexed:
                    if 0 <= index < total and index not in indexes:
                        indexes.add(index)
                        fresh = True
                elif uid not in noted:
                    known["succeeded"].append(uid)
                    fresh = True
            elif self._has_failed(pod):
                ended.append(pod)
                if uid in noted or (self.indexed and not 0 <= index < total):
                    continue
                if failure_action(self.job, pod)[0] != "Ignore":
                    known["failed"].append(uid)
                    fresh = True
        self.indexes, self.failed_indexes = indexes, failed_indexes
        if self.indexed:
            self._set("completedIndexes", format_indexes(indexes) if indexes else "")
            status["succeeded"] = len(indexes)
        if failed_indexes is not None:
            status["failedIndexes"] = format_indexes(failed_indexes)
        if fresh and (known["succeeded"] or known["failed"]):
            status["uncountedTerminatedPods"] = {k: v for k, v in known.items() if v}
            await self._write()
            status = self.status
        released = set()
        results = await asyncio.gather(*(self._drop_finalizer(p) for p in ended))
        for pod, ok in zip(ended, results, strict=True):
            if ok:
                released.add(pod["metadata"]["uid"])
        held = {p["metadata"]["uid"] for p in self.pods if has_finalizer(p)} - released
        left: Doc = {}
        for field in ("succeeded", "failed"):
            counted = [uid for uid in known[field] if uid not in held]
            if counted:
                status[field] = status.get(field, 0) + len(counted)
            remaining = [uid for uid in known[field] if uid in held]
            if remaining:
                left[field] = remaining
        status["uncountedTerminatedPods"] = left
        for field in ("succeeded", "failed"):
            self._set(field, status.get(field, 0))
        self.uncounted = left

    def _judge(self) -> set[int] | None:
        """The indexes that failed, None without a limit per index; notes what fails the Job."""
        limit = self.spec.get("backoffLimitPerIndex")
        total = self.completions or 0
        failed = parse_indexes(self.status.get("failedIndexes"), total)
        self.fail_message = ""
        for pod in self.pods:
            if not self._has_failed(pod):
                continue
            action, message = failure_action(self.job, pod)
            if action == "FailJob" and not self.fail_message:
                self.fail_message = message
            index = index_of(pod)
            if limit is None or not 0 <= index < total:
                continue
            if action == "FailIndex" or (action != "Ignore" and _number(pod, FAILURES) >= limit):
                failed.add(index)
        return None if limit is None else failed

    def _delay(self, done: set[int]) -> None:
        """Keep the last failed pod of each index that goes on and has no other pod."""
        running = {index_of(p) for p in self.active}
        for pod in self.pods:
            index = index_of(pod)
            if (
                not has_finalizer(pod)
                or not self._has_failed(pod)
                or not 0 <= index < (self.completions or 0)
                or index in done
                or index in running
            ):
                continue
            known = self.delayed.get(index)
            if known is None or self._last(known) <= self._last(pod):
                self.delayed[index] = pod

    def _last(self, pod: Doc) -> tuple[int, datetime]:
        return (_number(pod, FAILURES) + _number(pod, IGNORED), self._ended(pod))

    def _ended(self, pod: Doc) -> datetime:
        """When a pod ended, as well as it can be known."""
        status, metadata = pod.get("status", {}), pod["metadata"]
        times = [
            ((c.get("state") or {}).get("terminated") or {}).get("finishedAt")
            for c in status.get("containerStatuses") or ()
        ]
        if times and all(times):
            return max(parse_time(t) for t in times if t)
        ready = find(status.get("conditions"), "Ready")
        if ready is not None and ready["status"] == "False" and ready.get("lastTransitionTime"):
            return parse_time(ready["lastTransitionTime"])
        if metadata.get("deletionTimestamp"):
            grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
            return parse_time(metadata["deletionTimestamp"]) - grace
        return parse_time(metadata["creationTimestamp"])

    def _total(self, field: str) -> int:
        return int(self.status.get(field, 0)) + len(self.uncounted.get(field, ()))

    def _set(self, field: str, value: Any) -> None:
        """Zero and "" are left out, as Go leaves them out."""
        if value:
            self.status[field] = value
        else:
            self.status.pop(field, None)

    # -- the status

    def _condition(self, type: str, status: str, reason: str, message: str) -> None:
        conditions = self.status.get("conditions") or []
        fresh = {
            "type": type,
            "status": status,
            "lastProbeTime": self.stamp,
            "lastTransitionTime": self.stamp,
            "reason": reason,
            "message": message,
        }
        known = find(conditions, type)
        if known is None:
            self.status["conditions"] = [*conditions, fresh]
        elif known["status"] != status or known.get("reason") != reason:
            self.status["conditions"] = [fresh if c is known else c for c in conditions]

    def _event(self, type: str, reason: str, message: str) -> None:
        self.c.recorder.event(self.owner.involved, type, reason, message)

    async def _write(self) -> None:
        self.status.setdefault("uncountedTerminatedPods", {})
        if self.status == self.job.get("status", {}):
            return
        self.job = await self.client.update(
            JOBS, {**self.job, "status": self.status}, subresource="status"
        )
        self.status = dict(self.job["status"])
