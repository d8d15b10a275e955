"""Faults, the clock and history, as tests have them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

import cove
from cove.testing import Clock, Faults, Kubernetes, Timeline, environment

CRONJOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: hourly}
spec:
  schedule: "0 * * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: c, image: i}]}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  ttlSecondsAfterFinished: 3600
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
"""
LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "leader"},
    "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
}


@environment
class Empty:
    k8s = cove.cluster()


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# -- faults


def test_refusals_with_retry_after(k8s: Kubernetes, faults: Faults, timeline: Timeline) -> None:
    fault = faults.add(verb="create", resource="configmaps", status=429, retry_after=7, times=1)
    with pytest.raises(cove.StatusError) as refused:
        k8s.core.create_namespaced_config_map(config("a"))
    k8s.core.create_namespaced_config_map(config("a"))
    assert (refused.value.code, fault.hits) == (429, 1)
    assert refused.value.details is not None
    assert refused.value.details["retryAfterSeconds"] == 7
    assert [n.title for n in timeline.notes if n.kind == "fault"] == [
        "429 to create configmaps, 1×"
    ]


def test_a_fault_ends_with_its_block(k8s: Kubernetes, faults: Faults) -> None:
    with (
        faults.add(500, verb="get", resource="configmaps"),
        pytest.raises(cove.StatusError, match="Internal"),
    ):
        k8s.get("cm/kube-root-ca.crt")
    assert k8s.exists("cm/kube-root-ca.crt")


def test_a_write_whose_answer_is_lost(k8s: Kubernetes, faults: Faults) -> None:
    with (
        faults.add(504, verb="create", resource="configmaps", after=True),
        pytest.raises(cove.StatusError),
    ):
        k8s.core.create_namespaced_config_map(config("a"))
    assert k8s.exists("cm/a")


def test_watches_that_are_dropped_and_a_past_that_is_forgotten(
    k8s: Kubernetes, faults: Faults
) -> None:
    version = k8s.core.list_namespaced_config_map().metadata.resource_version
    k8s.apply(config("a"))
    faults.compact()
    with pytest.raises(cove.StatusError) as gone:
        k8s.core.list_namespaced_config_map(
            resource_version=version, resource_version_match="Exact"
        )
    assert gone.value.code == 410
    with k8s.watch("configmaps") as events:
        faults.restart()
        with pytest.raises(AssertionError, match="the server ended the watch"):
            events.next()


def test_connections_that_are_reset(k8s: Kubernetes, faults: Faults) -> None:
    with faults.reset(verb="list", resource="configmaps", times=1) as fault:
        with pytest.raises(cove.CoveError):
            k8s.core.list_namespaced_config_map()
        assert fault.hits == 1
    faults.latency(0.01, resource="configmaps")
    assert k8s.core.list_namespaced_config_map().items
    faults.clear()


def test_faults_of_one_test_are_not_those_of_the_next(k8s: Kubernetes) -> None:
    assert k8s.core.list_namespaced_config_map().items


# -- the clock


def test_a_cron_job_fires_when_its_time_has_come(k8s: Kubernetes, clock: Clock) -> None:
    k8s.apply(CRONJOB)
    before = clock.now()
    clock.advance(hours=1)
    jobs = k8s.batch.list_namespaced_job().items
    assert len(jobs) == 1
    assert jobs[0].status.succeeded == 1
    assert (clock.now() - before).total_seconds() >= 3600


def test_what_has_a_time_to_live_ends(k8s: Kubernetes, clock: Clock) -> None:
    k8s.apply(JOB)
    k8s.wait_for("job/once", "condition=Complete")
    clock.advance(minutes=59)
    assert k8s.exists("job/once")
    clock.advance(minutes=2)
    assert not k8s.exists("job/once")


def test_the_clock_of_one_test_is_not_that_of_the_next(
    k8s: Kubernetes, clock: Clock, timeline: Timeline
) -> None:
    k8s.apply(config("a"))
    started = timeline.started
    assert abs(clock.now().timestamp() - started) < 60
    with pytest.raises(ValueError, match="cannot be put back"):
        clock.advance(seconds=-1)


def test_leases_age_with_the_clock(k8s: Kubernetes, clock: Clock) -> None:
    k8s.apply(LEASE)
    made = k8s.get("lease/leader").metadata.creation_timestamp
    clock.advance(hours=2)
    later = k8s.apply({**LEASE, "metadata": {"name": "other"}})[0].metadata.creation_timestamp
    passed = datetime.fromisoformat(later) - datetime.fromisoformat(made)
    assert timedelta(hours=2) <= passed < timedelta(hours=3)


# -- history


def test_the_cluster_as_it_was(k8s: Kubernetes) -> None:
    k8s.apply(config("a", k="1"))
    before = k8s.revision
    k8s.apply(config("a", k="2"))
    k8s.core.delete_namespaced_config_map("kube-root-ca.crt")
    past = k8s.at(before)
    assert past.core.read_namespaced_config_map("a").data.k == "1"
    assert past.exists("cm/kube-root-ca.crt")
    with pytest.raises(cove.StatusError):
        past.core.delete_namespaced_config_map("a")


def test_what_differs_between_two_revisions(k8s: Kubernetes) -> None:
    k8s.apply([config("stays", k="1"), config("goes")])
    before = k8s.revision
    k8s.apply([config("stays", k="2"), config("comes")])
    k8s.core.delete_namespaced_config_map("goes")
    found = {d.name: d for d in k8s.diff(before) if d.resource == "configmaps"}
    assert {name: d.change for name, d in found.items()} == {
        "stays": "modified",
        "goes": "deleted",
        "comes": "added",
    }
    assert "-  k: '1'\n+  k: '2'\n" in found["stays"].text
    assert k8s.diff(before, before) == []


def test_versions_of_an_object(k8s: Kubernetes) -> None:
    k8s.apply(config("a", k="1"))
    k8s.apply(config("a", k="2"))
    versions = k8s.history("cm/a")
    assert [v.object["data"]["k"] for v in versions] == ["1", "2"]
    assert "+  k: '2'" in versions[0].diff(versions[1])
