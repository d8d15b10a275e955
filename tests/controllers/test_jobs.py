"""Jobs whose pods a test ends: back-off, failures per index, policies, suspension, deadlines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from timed import Timed, timed
from world import NAMESPACE, pod_template

from cove.controllers._resources import JOBS, PODS
from cove.engines.embedded import EmbeddedCluster
from cove.kube.times import format_time

Doc = dict[str, Any]
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


@pytest.fixture
async def jobs(api: EmbeddedCluster) -> AsyncIterator[Timed]:
    """Jobs only: their pods do not run, tests end them."""
    async with timed(api, "job-controller") as world:
        yield world


async def job(world: Timed, **spec: Any) -> None:
    template = pod_template({})
    template["spec"]["restartPolicy"] = "Never"
    await world.create(JOBS, "j", {"spec": {"template": template, **spec}})
    await world.settle()


async def indexed(world: Timed, **spec: Any) -> None:
    await job(world, completionMode="Indexed", **spec)


async def pods(world: Timed, index: int | None = None) -> list[Doc]:
    """The pods that have not ended."""
    await world.settle()
    found = (await world.client.list(PODS, NAMESPACE)).items
    return [
        p
        for p in found
        if p["status"].get("phase") not in ("Succeeded", "Failed")
        and "deletionTimestamp" not in p["metadata"]
        and index in (None, int(p["metadata"].get("annotations", {}).get(INDEX, -1)))
    ]


async def end(world: Timed, pod: Doc, code: int = 1, *conditions: Doc) -> None:
    now = format_time(world.clock.now())
    terminated = {"exitCode": code, "startedAt": now, "finishedAt": now}
    container = {
        "name": "c",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    status = {
        "phase": "Failed" if code or conditions else "Succeeded",
        "containerStatuses": [container],
        "conditions": list(conditions),
    }
    name = pod["metadata"]["name"]
    await world.client.patch(PODS, name, {"status": status}, NAMESPACE, subresource="status")
    await world.settle()


async def state(world: Timed) -> Doc:
    await world.settle()
    found: Doc = (await world.client.get(JOBS, "j", NAMESPACE))["status"]
    return found


def reasons(status: Doc) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in status.get("conditions", ()) if c["status"] == "True"}


async def test_each_failure_doubles_the_wait(jobs: Timed) -> None:
    await job(jobs)
    for wait in (10, 20, 40):
        (pod,) = await pods(jobs)
        await end(jobs, pod)
        await jobs.pass_(wait - 2)
        assert await pods(jobs) == []
        await jobs.pass_(3)
        assert len(await pods(jobs)) == 1
    assert (await state(jobs))["failed"] == 3


async def test_indexes_wait_for_themselves(jobs: Timed) -> None:
    await indexed(jobs, completions=2, parallelism=2, backoffLimitPerIndex=2)
    (first,) = await pods(jobs, 0)
    assert first["metadata"]["annotations"][FAILURES] == "0"
    await end(jobs, first)
    # Its failure is counted when another pod carries it on.
    held = await jobs.client.get(PODS, first["metadata"]["name"], NAMESPACE)
    assert held["metadata"]["finalizers"]
    assert "failed" not in await state(jobs)
    await jobs.pass_(5)
    (other,) = await pods(jobs, 1)
    await end(jobs, other)
    await jobs.pass_(6)
    (second,) = await pods(jobs, 0)
    assert second["metadata"]["annotations"][FAILURES] == "1"
    assert (await state(jobs))["failed"] == 1
    assert await pods(jobs, 1) == []
    await jobs.pass_(5)
    assert len(await pods(jobs, 1)) == 1
    await end(jobs, second)
    await jobs.pass_(15)
    assert await pods(jobs, 0) == []
    await jobs.pass_(6)
    assert len(await pods(jobs, 0)) == 1


async def test_indexes_that_failed_fail_the_job_in_the_end(jobs: Timed) -> None:
    await indexed(jobs, completions=2, parallelism=2, backoffLimitPerIndex=0)
    (pod,) = await pods(jobs, 0)
    await end(jobs, pod)
    found = await state(jobs)
    assert (found["failedIndexes"], found["failed"], reasons(found)) == ("0", 1, {})
    (pod,) = await pods(jobs, 1)
    await end(jobs, pod, 0)
    found = await state(jobs)
    assert reasons(found) == {"FailureTarget": "FailedIndexes", "Failed": "FailedIndexes"}
    assert found["completedIndexes"] == "1"
    assert await jobs.told("j", "FailedIndexes") == ["Job has failed indexes"]


async def test_too_many_failed_indexes_end_the_rest(jobs: Timed) -> None:
    await indexed(jobs, completions=4, parallelism=4, backoffLimitPerIndex=1, maxFailedIndexes=0)
    (waiting,) = await pods(jobs, 1)
    await end(jobs, waiting)
    for wait in (11, 0):
        (pod,) = await pods(jobs, 0)
        await end(jobs, pod)
        await jobs.pass_(wait)
    found = await state(jobs)
    assert reasons(found)["FailureTarget"] == "MaxFailedIndexesExceeded"
    # The index that was still waiting is counted when all is over.
    left = [p for p in await pods(jobs) if p["metadata"].get("finalizers")]
    assert left == []
    assert await jobs.told("j", "MaxFailedIndexesExceeded") == [
        "Job has exceeded the specified maximal number of failed indexes"
    ]


async def test_a_policy_fails_an_index_or_ignores(jobs: Timed) -> None:
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    rules = [
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [disrupted]},
    ]
    await indexed(
        jobs,
        completions=2,
        parallelism=2,
        backoffLimitPerIndex=3,
        podFailurePolicy={"rules": rules},
    )
    (pod,) = await pods(jobs, 0)
    await end(jobs, pod, 42)
    assert (await state(jobs))["failedIndexes"] == "0"
    (pod,) = await pods(jobs, 1)
    await end(jobs, pod, 1, disrupted)
    await jobs.pass_(11)
    (again,) = await pods(jobs, 1)
    assert again["metadata"]["annotations"] == {INDEX: "1", FAILURES: "0", IGNORED: "1"}
    found = await state(jobs)
    assert (found["failed"], found["failedIndexes"]) == (1, "0")
    await end(jobs, again)
    # Ignored failures lengthen the wait all the same.
    await jobs.pass_(15)
    assert await pods(jobs, 1) == []
    await jobs.pass_(6)
    (again,) = await pods(jobs, 1)
    assert again["metadata"]["annotations"] == {INDEX: "1", FAILURES: "1", IGNORED: "1"}


async def test_a_policy_fails_the_job(jobs: Timed) -> None:
    codes = {"operator": "NotIn", "values": [1, 2]}
    await job(jobs, podFailurePolicy={"rules": [{"action": "FailJob", "onExitCodes": codes}]})
    (pod,) = await pods(jobs)
    await end(jobs, pod, 3)
    found = await state(jobs)
    assert reasons(found) == {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"}
    assert found["conditions"][0]["message"] == (
        f"Container c for pod default/{pod['metadata']['name']} failed with exit code 3 matching "
        "FailJob rule at index 0"
    )


async def test_some_indexes_are_enough(jobs: Timed) -> None:
    rules = [{"succeededIndexes": "0-1", "succeededCount": 1}]
    await indexed(jobs, completions=3, parallelism=3, successPolicy={"rules": rules})
    (pod,) = await pods(jobs, 2)
    await end(jobs, pod, 0)
    assert reasons(await state(jobs)) == {}
    (pod,) = await pods(jobs, 1)
    await end(jobs, pod, 0)
    condition = (await state(jobs))["conditions"][0]
    assert (condition["type"], condition["reason"]) == ("SuccessCriteriaMet", "SuccessPolicy")
    assert condition["message"] == "Matched rules at index 0"
    assert await pods(jobs) == []


@pytest.mark.parametrize(("policy", "together"), [("Failed", 1), ("TerminatingOrFailed", 2)])
async def test_a_pod_that_is_ending_is_replaced_or_not(
    jobs: Timed, policy: str, together: int
) -> None:
    await job(jobs, podReplacementPolicy=policy)
    (pod,) = await pods(jobs)
    # A pod that an agent has to end first stays for a while.
    name = pod["metadata"]["name"]
    body = {"metadata": {"finalizers": ["x.example/y", *pod["metadata"]["finalizers"]]}}
    await jobs.client.patch(PODS, name, body, NAMESPACE)
    await jobs.client.delete(PODS, name, NAMESPACE)
    await jobs.pass_(60)
    assert len((await jobs.client.list(PODS, NAMESPACE)).items) == together
    assert (await state(jobs))["terminating"] == 1


async def test_a_suspended_job_starts_anew(jobs: Timed) -> None:
    await job(jobs, activeDeadlineSeconds=100)
    await jobs.pass_(60)
    await jobs.client.patch(JOBS, "j", {"spec": {"suspend": True}}, NAMESPACE)
    assert await pods(jobs) == []
    found = await state(jobs)
    assert reasons(found) == {"Suspended": "JobSuspended"}
    assert "startTime" not in found
    await jobs.pass_(600)
    await jobs.client.patch(JOBS, "j", {"spec": {"suspend": False}}, NAMESPACE)
    assert len(await pods(jobs)) == 1
    found = await state(jobs)
    assert found["startTime"] == format_time(jobs.clock.now())
    assert found["conditions"][0]["reason"] == "JobResumed"
    assert await jobs.told("j", "Suspended") == ["Job suspended"]
    assert await jobs.told("j", "Resumed") == ["Job resumed"]
    await jobs.pass_(101)
    assert reasons(await state(jobs))["FailureTarget"] == "DeadlineExceeded"
    assert await jobs.told("j", "DeadlineExceeded") == [
        "Job was active longer than specified deadline"
    ]
