"""The Job controller.

Every pod carries a finalizer until its end has been counted: first its uid is noted in
``uncountedTerminatedPods``, then the finalizer goes, then the counter grows.  A crash in
between loses nothing and counts nothing twice.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from cove.client.meta import controller_of
from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Context, Controller
from cove.controllers._expectations import Expectations
from cove.controllers._pods import (
    Owner,
    PodControl,
    by_controller,
    claim,
    deletion_rank,
    is_ready,
    namespace_terminating,
    select,
    template_object,
)
from cove.controllers._resources import JOBS, PODS
from cove.controllers.job._policy import (
    INDEX,
    failure_action,
    format_indexes,
    index_of,
    parse_indexes,
)
from cove.kube.labels import from_document
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time

__all__ = ["JobController"]

Doc = dict[str, Any]

FINALIZER = "batch.kubernetes.io/job-tracking"
# After a failure the next pod waits this long, doubled each time, up to ten minutes.
BACKOFF = 10.0
BACKOFF_LIMIT = 600.0
BATCH = 500
FAILURES = "batch.kubernetes.io/job-index-failure-count"


class JobController(Controller):
    """Keys are Jobs."""

    name = "job-controller"
    retry_base = 1.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.informer(JOBS)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.control = PodControl(self.client, self.recorder)
        self.expectations = Expectations(self.clock)
        self.watch_own(self.jobs)
        self.pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            owner = controller_of(pod)
            if owner is None or owner["kind"] != "Job":
                continue
            key = f"{pod['metadata']['namespace']}/{owner['name']}"
            if pod is new and old is None:
                self.expectations.created(key)
            if new is None or "deletionTimestamp" in new["metadata"]:
                self.expectations.deleted(key, pod["metadata"]["uid"])
            self.queue.add(key)
            if pod is new:
                return

    async def sync(self, key: str) -> None:
        """One Job."""
        job = self.jobs.get_key(key)
        if job is None:
            self.expectations.forget(key)
            return
        await _Sync(self, key, job).run()


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


class _Sync:
    """One look at one Job."""

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

    async def run(self) -> None:
        metadata = self.job["metadata"]
        uid = metadata["uid"]
        candidates = self.c.pods.indexed("controller", uid)
        if outcome(self.job) or "deletionTimestamp" in metadata:
            await self._let_go(candidates)
            return
        pods = await claim(
            self.client,
            PODS,
            self.owner,
            [*candidates, *self.c.pods.indexed("controller", f"orphan/{metadata['namespace']}")],
            select(from_document(self.spec.get("selector"))),
        )
        self.pods = pods
        self.status: Doc = dict(self.job.get("status", {}))
        self.active = [p for p in pods if self._is_active(p)]
        await self._count()
        self.verdict = self._verdict()
        self._suspension()
        error: StatusError | None = None
        terminating = self._terminating()
        if self.verdict is not None:
            await self._delete_active()
        elif self.c.expectations.satisfied(self.key):
            try:
                await self._manage()
            except StatusError as e:
                error = e
        self._conclude(terminating)
        self.status["ready"] = sum(1 for p in self.active if is_ready(p))
        self.status["terminating"] = terminating
        self._set("active", len(self.active))
        await self._write()
        if outcome({"status": self.status}):
            await self._let_go(pods)
        if error is not None and not namespace_terminating(error):
            raise error

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

    def _terminating(self) -> int:
        return sum(
            1
            for p in self.pods
            if "deletionTimestamp" in p["metadata"]
            and p.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        )

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

    async def _count(self) -> None:
        """Count the pods that ended since the last look."""
        status = self.status
        uncounted = status.get("uncountedTerminatedPods") or {}
        known = {
            "succeeded": list(uncounted.get("succeeded") or ()),
            "failed": list(uncounted.get("failed") or ()),
        }
        noted = {*known["succeeded"], *known["failed"]}
        total = self.completions or 0
        indexes = parse_indexes(status.get("completedIndexes"), total) if self.indexed else set()
        failed_indexes = (
            parse_indexes(status.get("failedIndexes"), total)
            if self.spec.get("backoffLimitPerIndex") is not None
            else None
        )
        self.fail_message = ""
        ended: list[Doc] = []
        fresh = False
        for pod in self.pods:
            uid = pod["metadata"]["uid"]
            if not has_finalizer(pod):
                continue
            if pod.get("status", {}).get("phase") == "Succeeded":
                ended.append(pod)
                if self.indexed:
                    index = index_of(pod)
                    if 0 <= index < total and index not in indexes:
                        indexes.add(index)
                        fresh = True
                elif uid not in noted:
                    known["succeeded"].append(uid)
                    fresh = True
            elif self._has_failed(pod):
                ended.append(pod)
                if uid in noted:
                    continue
                action, message = failure_action(self.job, pod)
                if action == "FailJob" and not self.fail_message:
                    self.fail_message = message
                if failed_indexes is not None:
                    self._fail_index(pod, action, failed_indexes)
                if action != "Ignore":
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

    def _fail_index(self, pod: Doc, action: str, failed: set[int]) -> None:
        index = index_of(pod)
        if index < 0 or index in failed:
            return
        failures = int((pod["metadata"].get("annotations") or {}).get(FAILURES, "0")) + 1
        if action == "FailIndex" or failures > int(self.spec["backoffLimitPerIndex"]):
            failed.add(index)

    def _total(self, field: str) -> int:
        return int(self.status.get(field, 0)) + len(self.uncounted.get(field, ()))

    def _set(self, field: str, value: Any) -> None:
        """Zero and "" are left out, as Go leaves them out."""
        if value:
            self.status[field] = value
        else:
            self.status.pop(field, None)

    # -- verdicts

    def _verdict(self) -> tuple[str, str, str] | None:
        """(condition, reason, message) that the Job is to end with, None while it goes on."""
        conditions = self.status.get("conditions")
        for type in ("FailureTarget", "SuccessCriteriaMet"):
            known = find(conditions, type)
            if known is not None and known.get("status") == "True":
                return type, known.get("reason", ""), known.get("message", "")
        if self.fail_message:
            return "FailureTarget", "PodFailurePolicy", self.fail_message
        limit = self.spec.get("backoffLimit", 6)
        if self._total("failed") > limit or self._restarts_exceed(limit):
            return (
                "FailureTarget",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        if self._past_deadline():
            return (
                "FailureTarget",
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            )
        if self.failed_indexes:
            most = self.spec.get("maxFailedIndexes")
            if most is not None and len(self.failed_indexes) > most:
                return (
                    "FailureTarget",
                    "MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes",
                )
            done = len(self.failed_indexes | self.indexes)
            if self.completions is not None and done >= self.completions and not self.active:
                return "FailureTarget", "FailedIndexes", "Job has failed indexes"
        met = self._success_policy()
        if met is not None:
            return met
        succeeded = self._total("succeeded")
        if self.completions is None:
            complete = succeeded > 0 and not self.active
        else:
            complete = succeeded >= self.completions
        if complete and not (self.completions == 0 and self.active):
            return (
                "SuccessCriteriaMet",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            )
        return None

    def _success_policy(self) -> tuple[str, str, str] | None:
        policy = self.spec.get("successPolicy")
        if not policy or not self.indexed:
            return None
        for number, rule in enumerate(policy.get("rules") or ()):
            done = self.indexes
            if rule.get("succeededIndexes"):
                wanted = parse_indexes(rule["succeededIndexes"], self.completions or 0)
                done = done & wanted
                enough = len(done) >= rule.get("succeededCount", len(wanted))
            else:
                enough = len(done) >= rule.get("succeededCount", self.completions or 0)
            if enough:
                return "SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {number}"
        return None

    def _restarts_exceed(self, limit: int) -> bool:
        if self.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        restarts = 0
        for pod in self.pods:
            status = pod.get("status", {})
            if status.get("phase") in ("Running", "Pending"):
                for field in ("initContainerStatuses", "containerStatuses"):
                    restarts += sum(c.get("restartCount", 0) for c in status.get(field) or ())
        return restarts > 0 if limit == 0 else restarts >= limit

    def _past_deadline(self) -> bool:
        seconds = self.spec.get("activeDeadlineSeconds")
        started = self.status.get("startTime")
        if seconds is None or started is None or self.spec.get("suspend"):
            return False
        left = seconds - seconds_since(started, self.now)
        if left <= 0:
            return True
        self.c.queue.add_after(self.key, left)
        return False

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

    def _suspension(self) -> None:
        """The Suspended condition, and the start that begins anew with each resumption."""
        suspended = bool(self.spec.get("suspend"))
        known = find(self.status.get("conditions"), "Suspended")
        is_told = known is not None and known.get("status") == "True"
        if self.verdict is None:
            if suspended and not is_told:
                self._condition("Suspended", "True", "JobSuspended", "Job suspended")
                self.status.pop("startTime", None)
                self._event("Normal", "Suspended", "Job suspended")
            elif not suspended and is_told:
                self._condition("Suspended", "False", "JobResumed", "Job resumed")
                self.status["startTime"] = self.stamp
                self._event("Normal", "Resumed", "Job resumed")
        if not suspended and not self.status.get("startTime"):
            self.status["startTime"] = self.stamp
            if self.spec.get("activeDeadlineSeconds") is not None:
                self.c.queue.add_after(self.key, float(self.spec["activeDeadlineSeconds"]))

    def _conclude(self, terminating: int) -> None:
        """Tell the verdict at once, and the end when the last pod has ended."""
        if self.verdict is None:
            return
        type, reason, message = self.verdict
        self._condition(type, "True", reason, message)
        if self.active or terminating or self.uncounted:
            return
        if type == "SuccessCriteriaMet":
            self._condition("Complete", "True", reason, message)
            self.status["completionTime"] = self.stamp
            self._event("Normal", "Completed", "Job completed")
        else:
            self._condition("Failed", "True", reason, message)
            self._event("Warning", reason, message)

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

    # -- making and removing pods

    async def _manage(self) -> None:
        active = len(self.active)
        if self.spec.get("suspend"):
            await self._delete(self.active)
            self.active = []
            return
        succeeded = self._total("succeeded")
        if self.completions is None:
            wanted = active if succeeded > 0 else self.parallelism
        else:
            failed = len(self.failed_indexes or ())
            wanted = min(self.completions - succeeded - failed, self.parallelism)
        wanted = max(wanted, 0)
        if active > wanted:
            surplus = sorted(self.active, key=lambda p: deletion_rank(p, 0))[: active - wanted]
            await self._delete(surplus)
            gone = {p["metadata"]["uid"] for p in surplus}
            self.active = [p for p in self.active if p["metadata"]["uid"] not in gone]
            return
        missing = wanted - active
        if self.only_failed:
            missing -= self._terminating()
        missing = min(missing, BATCH)
        if missing <= 0:
            return
        delay = self._backoff()
        if delay > 0:
            self.c.queue.add_after(self.key, delay)
            return
        await self._create(missing)

    def _backoff(self) -> float:
        """Seconds until the next pod may be made, given the failures since the last success."""
        ends: list[tuple[datetime, bool]] = []
        for pod in self.pods:
            phase = pod.get("status", {}).get("phase")
            if phase == "Succeeded" or self._has_failed(pod):
                ends.append((self._ended(pod), phase == "Succeeded"))
        ends.sort(key=lambda e: e[0], reverse=True)
        failures, last = 0, None
        for moment, good in ends:
            if good:
                break
            failures += 1
            last = last or moment
        if last is None:
            return 0.0
        delay = min(BACKOFF * 2.0 ** (failures - 1), BACKOFF_LIMIT)
        return delay - (self.now - last).total_seconds()

    def _ended(self, pod: Doc) -> datetime:
        times = [
            parse_time(state["finishedAt"])
            for c in pod.get("status", {}).get("containerStatuses") or ()
            if (state := (c.get("state") or {}).get("terminated")) and state.get("finishedAt")
        ]
        if times:
            return max(times)
        text = pod["metadata"].get("deletionTimestamp")
        if text:
            return min(parse_time(text), self.now)
        return self.now

    async def _create(self, count: int) -> None:
        indexes: list[int | None] = [None] * count
        if self.indexed:
            taken = {index_of(p) for p in self.active} | self.indexes
            taken |= self.failed_indexes or set()
            if self.only_failed:
                taken |= {index_of(p) for p in self.pods if "deletionTimestamp" in p["metadata"]}
            free = [i for i in range(self.completions or 0) if i not in taken]
            indexes = list(free[:count])
        expectations, key = self.c.expectations, self.key
        expectations.expect(key, adds=len(indexes))
        done, batch = 0, 1
        while done < len(indexes):
            part = indexes[done : done + batch]
            results = await asyncio.gather(
                *(self.c.control.create(self.owner, self._pod(i)) for i in part),
                return_exceptions=True,
            )
            done += len(part)
            self.active += [r for r in results if isinstance(r, dict)]
            failures = [r for r in results if isinstance(r, BaseException)]
            if failures:
                expectations.created(key, len(failures) + len(indexes) - done)
                raise failures[0]
            batch *= 2

    def _pod(self, index: int | None) -> Doc:
        pod = template_object(self.spec["template"], self.owner)
        metadata = pod["metadata"]
        metadata["generateName"] = f"{self.job['metadata']['name']}-"
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
        if index is None:
            return pod
        name = self.job["metadata"]["name"]
        metadata["generateName"] = f"{name}-{index}-"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: str(index)}
        if self.failed_indexes is not None:
            metadata["annotations"][FAILURES] = str(self._failures_of(index))
        metadata["labels"] = {**(metadata.get("labels") or {}), INDEX: str(index)}
        env = {
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}},
        }
        spec = {**pod["spec"], "hostname": f"{name}-{index}"}
        for field in ("initContainers", "containers"):
            if spec.get(field):
                spec[field] = [
                    c
                    if any(e["name"] == env["name"] for e in c.get("env") or ())
                    else {**c, "env": [*(c.get("env") or ()), env]}
                    for c in spec[field]
                ]
        pod["spec"] = spec
        return pod

    def _failures_of(self, index: int) -> int:
        counts = [
            int((p["metadata"].get("annotations") or {}).get(FAILURES, "0")) + 1
            for p in self.pods
            if index_of(p) == index and self._has_failed(p)
        ]
        return max(counts, default=0)

    async def _delete(self, pods: list[Doc]) -> None:
        """Pods that are not wanted do not count: their finalizer goes before they do."""
        if not pods:
            return
        self.c.expectations.expect(self.key, deletions=[p["metadata"]["uid"] for p in pods])

        async def one(pod: Doc) -> None:
            try:
                if has_finalizer(pod):
                    await self._drop_finalizer(pod)
                await self.c.control.delete(self.owner, pod)
            except StatusError as e:
                self.c.expectations.deleted(self.key, pod["metadata"]["uid"])
                if e.code != 404:
                    raise

        await asyncio.gather(*(one(p) for p in pods))

    async def _delete_active(self) -> None:
        """The Job is decided: what still runs is ended, and counted when it has."""
        for pod in self.active:
            try:
                await self.c.control.delete(self.owner, pod)
            except StatusError as e:
                if e.code != 404:
                    raise
