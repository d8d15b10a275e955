"""CronJobs against the clock: what starts when, what is told, what the status says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from timed import Timed, timed
from world import NAMESPACE, pod_template

from cove.controllers._cron import missed, parse
from cove.controllers._resources import CRON_JOBS, JOBS
from cove.engines.embedded import EmbeddedCluster
from cove.kube.times import format_time, parse_time

Doc = dict[str, Any]
SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


@pytest.fixture
async def cron(api: EmbeddedCluster) -> AsyncIterator[Timed]:
    """CronJobs only: their jobs do not run, tests end them."""
    async with timed(api, "cronjob-controller") as world:
        yield world


async def cron_job(cron: Timed, **spec: Any) -> None:
    template = pod_template({})
    template["spec"]["restartPolicy"] = "Never"
    body = {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}}
    body["spec"].update(spec)
    await cron.create(CRON_JOBS, "c", body)


async def jobs(cron: Timed) -> list[Doc]:
    await cron.settle()
    found = (await cron.client.list(JOBS, NAMESPACE)).items
    return sorted(found, key=lambda j: str(j["metadata"]["name"]))


async def status(cron: Timed) -> Doc:
    await cron.settle()
    found: Doc = (await cron.client.get(CRON_JOBS, "c", NAMESPACE)).get("status", {})
    return found


async def end(cron: Timed, job: Doc, type: str = "Complete") -> None:
    """What the Job controller would say of a job that has ended."""
    now = format_time(cron.clock.now())
    before = "SuccessCriteriaMet" if type == "Complete" else "FailureTarget"
    done = [
        {"type": t, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        for t in (before, type)
    ]
    body: Doc = {"startTime": now, "conditions": done, "uncountedTerminatedPods": {}}
    if type == "Complete":
        body["completionTime"] = now
    await cron.client.update(JOBS, {**job, "status": body}, subresource="status")


async def test_a_job_a_minute_and_its_status(cron: Timed) -> None:
    await cron_job(cron)
    await cron.pass_(61)
    (job,) = await jobs(cron)
    when = parse_time(job["metadata"]["annotations"][SCHEDULED])
    assert job["metadata"]["name"] == f"c-{int(when.timestamp()) // 60}"
    found = await status(cron)
    assert found["lastScheduleTime"] == format_time(when)
    assert [a["name"] for a in found["active"]] == [job["metadata"]["name"]]
    await end(cron, job)
    found = await status(cron)
    assert "active" not in found
    done = (await jobs(cron))[0]["status"]["completionTime"]
    assert found["lastSuccessfulTime"] == done
    name = job["metadata"]["name"]
    assert await cron.told("c", "SuccessfulCreate") == [f"Created job {name}"]
    assert await cron.told("c", "SawCompletedJob") == [
        f"Saw completed job: {name}, condition: Complete"
    ]


async def test_a_suspended_one_starts_nothing(cron: Timed) -> None:
    await cron_job(cron, suspend=True)
    await cron.pass_(600)
    assert not await jobs(cron)
    await cron.client.patch(CRON_JOBS, "c", {"spec": {"suspend": False}}, NAMESPACE)
    # The latest time that was missed, and only that one.
    assert len(await jobs(cron)) == 1


async def test_forbid_waits_for_the_one_before(cron: Timed) -> None:
    await cron_job(cron, concurrencyPolicy="Forbid")
    await cron.pass_(61)
    await cron.pass_(60)
    (job,) = await jobs(cron)
    assert await cron.told("c", "JobAlreadyActive") == [
        "Not starting job because prior execution is running and concurrency policy is Forbid"
    ]
    await end(cron, job)
    assert len(await jobs(cron)) == 2


async def test_replace_deletes_the_one_before(cron: Timed) -> None:
    await cron_job(cron, concurrencyPolicy="Replace")
    await cron.pass_(61)
    (first,) = await jobs(cron)
    await cron.pass_(60)
    (second,) = [j for j in await jobs(cron) if "deletionTimestamp" not in j["metadata"]]
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert [a["uid"] for a in (await status(cron))["active"]] == [second["metadata"]["uid"]]
    name = first["metadata"]["name"]
    assert await cron.told("c", "SuccessfulDelete") == [f"Deleted job {name}"]


async def test_the_deadline_bounds_what_is_made_up_for(cron: Timed) -> None:
    await cron_job(cron, schedule="0 * * * *", suspend=True, startingDeadlineSeconds=120)
    now = cron.clock.now()
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    await cron.pass_((hour - now).total_seconds() + 300)
    await cron.client.patch(CRON_JOBS, "c", {"spec": {"suspend": False}}, NAMESPACE)
    assert not await jobs(cron)
    await cron.pass_(3600 - 300 + 1)
    assert len(await jobs(cron)) == 1


async def test_a_day_that_was_missed_is_told_of(cron: Timed) -> None:
    await cron_job(cron, suspend=True)
    await cron.pass_(86400)
    assert await cron.told("c", "TooManyMissedTimes") == []
    await cron.client.patch(CRON_JOBS, "c", {"spec": {"suspend": False}}, NAMESPACE)
    assert len(await jobs(cron)) == 1
    assert await cron.told("c", "TooManyMissedTimes") == [
        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check "
        "clock skew"
    ]


async def test_the_time_is_told_on_the_schedules_clock(cron: Timed) -> None:
    await cron_job(cron, timeZone="Asia/Kolkata")
    await cron.pass_(61)
    (job,) = await jobs(cron)
    text = job["metadata"]["annotations"][SCHEDULED]
    assert text.endswith("+05:30")
    assert parse_time((await status(cron))["lastScheduleTime"]) == parse_time(text)


async def test_a_schedule_that_names_no_day(cron: Timed) -> None:
    await cron_job(cron, schedule="59 23 31 2 *")
    assert await cron.told("c", "InvalidSchedule") == [
        "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than "
        "1 second"
    ]


async def test_another_schedule_counts_from_its_next_time(cron: Timed) -> None:
    await cron_job(cron, schedule="0 0 1 1 *")
    await cron.pass_(600)
    await cron.client.patch(CRON_JOBS, "c", {"spec": {"schedule": "* * * * *"}}, NAMESPACE)
    assert not await jobs(cron)
    await cron.pass_(61)
    assert len(await jobs(cron)) == 1


async def test_as_many_ended_jobs_stay_as_wanted(cron: Timed) -> None:
    await cron_job(cron, successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0)
    names = []
    for type in ("Complete", "Complete", "Failed", "Complete"):
        await cron.pass_(61)
        newest = (await jobs(cron))[-1]
        names.append(newest["metadata"]["name"])
        await end(cron, newest, type)
    left = [
        j["metadata"]["name"] for j in await jobs(cron) if "deletionTimestamp" not in j["metadata"]
    ]
    assert left == [names[1], names[3]]


async def test_jobs_that_are_gone_or_strange_are_told_of(cron: Timed) -> None:
    await cron_job(cron)
    await cron.pass_(61)
    (job,) = await jobs(cron)
    metadata = job["metadata"]
    await cron.client.delete(JOBS, metadata["name"], NAMESPACE, propagation="Background")
    assert await cron.told("c", "MissingJob") == [f"Active job went missing: {metadata['name']}"]
    assert "active" not in await status(cron)
    template = pod_template({})
    template["spec"]["restartPolicy"] = "Never"
    owners = metadata["ownerReferences"]
    body = {"metadata": {"ownerReferences": owners}, "spec": {"template": template}}
    await cron.create(JOBS, "strange", body)
    assert await cron.told("c", "UnexpectedJob") == [
        "Saw a job that the controller did not create or forgot: strange"
    ]


@pytest.mark.parametrize(
    ("schedule", "since", "now", "last", "many"),
    [
        ("* * * * *", "2024-01-01T00:00:30Z", "2024-01-01T00:00:59Z", None, False),
        ("* * * * *", "2024-01-01T00:00:30Z", "2025-01-01T00:00:30Z", "2025-01-01T00:00:00Z", True),
        (
            "30 6-16/4 * * 1-5",
            "2024-01-01T00:00:00Z",
            "2024-01-04T12:00:00Z",
            "2024-01-04T10:30:00Z",
            False,
        ),
        # The estimate falls into the weekend.
        ("30 6-16/4 * * 1-5", "2024-01-01T00:00:00Z", "2024-01-07T12:00:00Z", None, False),
        (
            "@every 90m",
            "2024-01-01T00:00:00Z",
            "2024-01-01T05:00:00Z",
            "2024-01-01T04:30:00Z",
            False,
        ),
    ],
)
def test_the_last_time_that_has_come(
    schedule: str, since: str, now: str, last: str | None, many: bool
) -> None:
    start = parse_time(since)
    found = missed(parse(schedule), start, parse_time(now), start.tzinfo)  # type: ignore[arg-type]
    assert found == (None if last is None else parse_time(last), many)
