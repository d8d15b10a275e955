"""CronJob: Jobs made at the times that a schedule names.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cove.client.meta import controller_of, key_of
from cove.client.recorder import reference
from cove.controllers._conditions import find
from cove.controllers._controller import Context, Controller, Retry
from cove.controllers._cron import CronError, Schedule, missed, parse
from cove.controllers._pods import Owner, by_controller, namespace_terminating
from cove.controllers._resources import CRON_JOBS, JOBS
from cove.kube.status import StatusError
from cove.kube.times import format_time, parse_time

__all__ = ["CronJobController"]

Doc = dict[str, Any]

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
# A moment late rather than early: the schedule has whole seconds.
LATE = 0.1


class CronJobController(Controller):
    """Keys are CronJobs."""

    name = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cron_jobs = self.informer(CRON_JOBS)
        self.jobs = self.informer(JOBS)
        self.jobs.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.cron_jobs.add_handler(self._changed)
        self.watch_owned(self.jobs, "CronJob")

    def _changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """Another schedule counts from its next time on; everything else counts at once."""
        if old is not None and new is not None:
            before, after = old["spec"], new["spec"]
            if any(before.get(k) != after.get(k) for k in ("schedule", "timeZone")):
                wait = _wait(new, self.clock.now())
                if wait is not None:
                    self.queue.add_after(key_of(new), wait)
                return
        self.queue.add(key_of(new or old or {}))

    async def sync(self, key: str) -> None:
        """One CronJob."""
        found = self.cron_jobs.get_key(key)
        if found is None:
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
        try:
            await self._settle(jobs)
            if "deletionTimestamp" not in self.obj["metadata"]:
                await self._schedule()
        finally:
            if not self.status.get("active"):
                self.status.pop("active", None)
            if self.status != (self.obj.get("status") or {}):
                await self.client.update(
                    CRON_JOBS, {**self.obj, "status": self.status}, subresource="status"
                )

    # -- the jobs there are

    async def _settle(self, jobs: list[Doc]) -> None:
        """Which jobs run, and when the last one succeeded."""
        active = {ref["uid"]: ref for ref in self.status.get("active") or ()}
        self.status["active"] = list(active.values())
        for job in jobs:
            metadata = job["metadata"]
            outcome = _outcome(job)
            if not outcome:
                if metadata["uid"] not in active and not await self._known(metadata["uid"]):
                    self._event(
                        "Warning",
                        "UnexpectedJob",
                        "Saw a job that the controller did not create or forgot: "
                        f"{metadata['name']}",
                    )
                continue
            if metadata["uid"] in active:
                self._forget(metadata["uid"])
                self._event(
                    "Normal",
                    "SawCompletedJob",
                    f"Saw completed job: {metadata['name']}, condition: {outcome}",
                )
            done = job.get("status", {}).get("completionTime")
            if outcome == "Complete" and done:
                last = self.status.get("lastSuccessfulTime")
                if not last or parse_time(last) < parse_time(done):
                    self.status["lastSuccessfulTime"] = done
        seen = {j["metadata"]["uid"] for j in jobs}
        for uid, ref in active.items():
            if uid not in seen and await self._missing(ref["name"]):
                self._event("Normal", "MissingJob", f"Active job went missing: {ref['name']}")
                self._forget(uid)

    async def _known(self, uid: str) -> bool:
        """Whether a job is active in the status as it is now: the cache may be behind."""
        metadata = self.obj["metadata"]
        fresh = await self.client.get(CRON_JOBS, metadata["name"], metadata["namespace"])
        return any(ref["uid"] == uid for ref in fresh.get("status", {}).get("active") or ())

    async def _missing(self, name: str) -> bool:
        try:
            await self.client.get(JOBS, name, self.obj["metadata"]["namespace"])
        except StatusError as e:
            if e.code == 404:
                return True
            raise
        return False

    def _forget(self, uid: str) -> None:
        self.status["active"] = [a for a in self.status.get("active") or () if a["uid"] != uid]

    async def _clean(self, jobs: list[Doc]) -> None:
        for outcome, field in (
            ("Complete", "successfulJobsHistoryLimit"),
            ("Failed", "failedJobsHistoryLimit"),
        ):
            limit = self.spec.get(field)
            if limit is None:
                continue
            done = [j for j in jobs if _outcome(j) == outcome]
            done.sort(key=_by_start)
            for job in done[: max(len(done) - limit, 0)]:
                await self._delete(job)

    async def _delete(self, job: Doc) -> bool:
        metadata = job["metadata"]
        try:
            await self.client.delete(
                JOBS, metadata["name"], metadata["namespace"], propagation="Background"
            )
        except StatusError as e:
            self._event("Warning", "FailedDelete", f"Deleted job: {e}")
            return False
        self._forget(metadata["uid"])
        self._event("Normal", "SuccessfulDelete", f"Deleted job {metadata['name']}")
        return True

    # -- the next one

    async def _schedule(self) -> None:
        text = self.spec["schedule"]
        name = self.spec.get("timeZone")
        try:
            zone = _zone(name)
        except (ZoneInfoNotFoundError, ValueError):
            self._event(
                "Warning",
                "UnknownTimeZone",
                f'invalid timeZone: "{name}": unknown time zone {name}',
            )
            return
        if self.spec.get("suspend"):
            return
        try:
            schedule = parse(text)
        except CronError as e:
            self._event("Warning", "UnparseableSchedule", f'unparseable schedule: "{text}" : {e}')
            return
        since = _since(self.obj)
        deadline = self.spec.get("startingDeadlineSeconds")
        if deadline is not None:
            since = max(since, self.now - timedelta(seconds=deadline))
        try:
            last, many = missed(schedule, since, self.now, zone)
        except CronError as e:
            self._event("Warning", "InvalidSchedule", f"invalid schedule: {text} : {e}")
            return
        if last is not None:
            if many:
                self._event(
                    "Warning",
                    "TooManyMissedTimes",
                    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds "
                    "or check clock skew",
                )
            await self._start(last, zone)
        wait = _wait({**self.obj, "status": self.status}, self.now)
        if wait is not None:
            self.c.queue.add_after(self.key, wait)

    async def _start(self, when: datetime, zone: tzinfo) -> None:
        when = when.astimezone(UTC)
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
        name = f"{self.obj['metadata']['name']}-{int(when.timestamp()) // 60}"
        if any(ref["name"] == name for ref in active):
            return
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
                try:
                    job = await self.client.get(JOBS, ref["name"], namespace)
                except StatusError as e:
                    self._event("Warning", "FailedGet", f"Get job: {e}")
                    raise
                if not await self._delete(job):
                    raise Retry
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
                    SCHEDULED: _zoned(when, zone),
                },
                "ownerReferences": [Owner(self.obj, CRON_JOBS, "CronJob").reference],
            },
            "spec": template["spec"],
        }
        try:
            created = await self.client.create(JOBS, job)
        except StatusError as e:
            if e.reason == "AlreadyExists":
                created = await self.client.get(JOBS, name, namespace)
                owner = controller_of(created)
                if owner is None or owner["uid"] != self.obj["metadata"]["uid"]:
                    return  # somebody else's, who tells of it
            elif namespace_terminating(e):
                raise
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


def _by_start(job: Doc) -> tuple[bool, str, str]:
    """Sort key: the one that started first; those that have not are last."""
    start = job.get("status", {}).get("startTime")
    return (not start, start or "", job["metadata"]["name"])


def _zone(name: str | None) -> tzinfo:
    return ZoneInfo(name) if name else UTC


def _zoned(moment: datetime, zone: tzinfo) -> str:
    """RFC 3339 on the schedule's own clock."""
    local = moment.astimezone(zone)
    return format_time(moment) if not local.utcoffset() else local.isoformat(timespec="seconds")


def _since(cron_job: Doc) -> datetime:
    """The time up to which nothing was missed."""
    status = cron_job.get("status") or {}
    return parse_time(status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"])


def _wait(cron_job: Doc, now: datetime) -> float | None:
    """Seconds until the time after the last one that has come; None if there is none."""
    since = _since(cron_job)
    try:
        zone = _zone(cron_job["spec"].get("timeZone"))
        schedule: Schedule = parse(cron_job["spec"]["schedule"])
        last, _ = missed(schedule, since, now, zone)
    except (CronError, ZoneInfoNotFoundError, ValueError):
        return None
    following = schedule.next(last or since, zone)
    if following is not None and following <= now:
        following = schedule.next(now, zone)
    if following is None:
        return None
    return (following - now).total_seconds() + LATE
