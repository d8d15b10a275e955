"""CronJob: Jobs made at the times that a schedule names.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller
from cove.controllers._cron import CronError, Schedule, parse
from cove.controllers._pods import Owner, by_controller
from cove.controllers._resources import CRON_JOBS, JOBS
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time

__all__ = ["CronJobController"]

Doc = dict[str, Any]

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
# More missed times than this are told of instead of counted.
MANY = 100


class CronJobController(Controller):
    """Keys are CronJobs."""

    name = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cron_jobs = self.informer(CRON_JOBS)
        self.jobs = self.informer(JOBS)
        self.jobs.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.watch_own(self.cron_jobs)
        self.watch_owned(self.jobs, "CronJob")

    async def sync(self, key: str) -> None:
        """One CronJob."""
        found = self.cron_jobs.get_key(key)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        await _Sync(self, key, found).run()


class _Sync:
    """One look at one CronJob."""

    def __init__(self, controller: CronJobController, key: str, obj: Doc) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.obj = obj
        self.spec: Doc = obj["spec"]
        self.status: Doc = dict(obj.get("status") or {})
        self.now = controller.clock.now()

    def _event(self, type: str, reason: str, message: str) -> None:
        self.c.recorder.event(reference(self.obj, "batch/v1", "CronJob"), type, reason, message)

    async def run(self) -> None:
        jobs = self.c.jobs.indexed("controller", self.obj["metadata"]["uid"])
        await self._clean(jobs)
        self._settle(jobs)
        try:
            if not self.spec.get("suspend"):
                await self._schedule()
        finally:
            if not self.status.get("active"):
                self.status.pop("active", None)
            if self.status != (self.obj.get("status") or {}):
                await self.client.update(
                    CRON_JOBS, {**self.obj, "status": self.status}, subresource="status"
                )

    # -- the jobs there are

    def _settle(self, jobs: list[Doc]) -> None:
        """Which jobs run, and when the last one succeeded."""
        by_uid = {j["metadata"]["uid"]: j for j in jobs}
        active = []
        for ref in self.status.get("active") or ():
            job = by_uid.pop(ref["uid"], None)
            if job is None:
                self._event(
                    "Normal",
                    "MissingJob",
                    f"Active job went missing: {ref['name']}",
                )
            elif _outcome(job):
                self._ended(job)
            else:
                active.append(ref)
        for job in by_uid.values():
            if not _outcome(job):
                self._event(
                    "Warning",
                    "UnexpectedJob",
                    f"Saw a job that the controller did not create or forgot: "
                    f"{job['metadata']['name']}",
                )
        self.status["active"] = active

    def _ended(self, job: Doc) -> None:
        outcome = _outcome(job)
        self._event(
            "Normal",
            "SawCompletedJob",
            f"Saw completed job: {job['metadata']['name']}, condition: {outcome}",
        )
        done = job.get("status", {}).get("completionTime")
        if outcome == "Complete" and done:
            known = self.status.get("lastSuccessfulTime")
            if not known or parse_time(known) < parse_time(done):
                self.status["lastSuccessfulTime"] = done

    async def _clean(self, jobs: list[Doc]) -> None:
        for outcome, field, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            limit = self.spec.get(field, default)
            done = [j for j in jobs if _outcome(j) == outcome]
            done.sort(
                key=lambda j: (j.get("status", {}).get("startTime") or "", j["metadata"]["name"])
            )
            for job in done[: max(len(done) - limit, 0)]:
                await self._delete(job)

    async def _delete(self, job: Doc) -> None:
        metadata = job["metadata"]
        try:
            await self.client.delete(
                JOBS, metadata["name"], metadata["namespace"], propagation="Background"
            )
        except StatusError as e:
            if e.code != 404:
                raise
        self._event("Normal", "SuccessfulDelete", f"Deleted job {metadata['name']}")
        self.status["active"] = [
            a for a in self.status.get("active") or () if a["uid"] != metadata["uid"]
        ]

    # -- the next one

    async def _schedule(self) -> None:
        text = self.spec["schedule"]
        try:
            zone: tzinfo = ZoneInfo(self.spec["timeZone"]) if self.spec.get("timeZone") else UTC
        except (ZoneInfoNotFoundError, ValueError):
            self._event("Warning", "UnknownTimeZone", f"invalid timeZone: {self.spec['timeZone']}")
            return
        try:
            schedule = parse(text)
        except CronError as e:
            self._event("Warning", "UnparseableSchedule", f"unparseable schedule: {text}: {e}")
            return
        last = self._last_missed(schedule, zone)
        if last is not None:
            last = last.astimezone(UTC)
            await self._start(last)
        following = schedule.next(self.now, zone)
        if following is not None:
            # A moment late rather than early: the schedule has whole seconds.
            self.c.queue.add_after(self.key, (following - self.now).total_seconds() + 0.1)

    def _last_missed(self, schedule: Schedule, zone: tzinfo) -> datetime | None:
        since = parse_time(
            self.status.get("lastScheduleTime") or self.obj["metadata"]["creationTimestamp"]
        )
        deadline = self.spec.get("startingDeadlineSeconds")
        if deadline is not None:
            since = max(since, self.now - timedelta(seconds=deadline))
        last: datetime | None = None
        missed = 0
        moment = schedule.next(since, zone)
        while moment is not None and moment <= self.now:
            last = moment
            missed += 1
            if missed == MANY + 1:
                self._event(
                    "Warning",
                    "TooManyMissedTimes",
                    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds "
                    "or check clock skew",
                )
            if missed > 100_000:
                break
            moment = schedule.next(moment, zone)
        return last

    async def _start(self, when: datetime) -> None:
        deadline = self.spec.get("startingDeadlineSeconds")
        if deadline is not None and when + timedelta(seconds=deadline) < self.now:
            self._event(
                "Warning",
                "MissSchedule",
                f"Missed scheduled time to start a job: {when:%a, %d %b %Y %H:%M:%S} +0000",
            )
            return
        active = self.status.get("active") or []
        namespace = self.obj["metadata"]["namespace"]
        policy = self.spec.get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and active:
            self._event(
                "Normal",
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is "
                "Forbid",
            )
            return
        if policy == "Replace":
            for ref in list(active):
                job = self.c.jobs.get(namespace, ref["name"])
                if job is not None:
                    await self._delete(job)
        name = f"{self.obj['metadata']['name']}-{int(when.timestamp()) // 60}"
        template = self.spec["jobTemplate"]
        source = template.get("metadata") or {}
        job = {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": dict(source.get("labels") or {}),
                "annotations": {
                    **(source.get("annotations") or {}),
                    SCHEDULED: format_time(when),
                },
                "ownerReferences": [Owner(self.obj, CRON_JOBS, "CronJob").reference],
            },
            "spec": template["spec"],
        }
        try:
            created = await self.client.create(JOBS, job)
        except StatusError as e:
            if e.reason == "AlreadyExists":
                known = await self.client.get(JOBS, name, namespace)
                owners = known["metadata"].get("ownerReferences", ())
                if not any(o["uid"] == self.obj["metadata"]["uid"] for o in owners):
                    raise
                created = known
            else:
                self._event("Warning", "FailedCreate", f"Error creating job: {e}")
                raise
        else:
            self._event("Normal", "SuccessfulCreate", f"Created job {name}")
        metadata = created["metadata"]
        self.status["active"] = [
            *(a for a in self.status.get("active") or () if a["uid"] != metadata["uid"]),
            {
                "kind": "Job",
                "apiVersion": "batch/v1",
                "namespace": namespace,
                "name": name,
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        ]
        self.status["lastScheduleTime"] = format_time(when)


def _outcome(job: Doc) -> str:
    """Complete, Failed, or "" while it runs."""
    conditions = job.get("status", {}).get("conditions")
    for type in ("Complete", "Failed"):
        condition = find(conditions, type)
        if condition is not None and condition.get("status") == "True":
            return type
    return ""
