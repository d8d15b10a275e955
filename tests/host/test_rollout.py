"""Whether a workload is ready, by its status alone."""

from __future__ import annotations

from typing import Any

import pytest

from cove.host.rollout import failed, pod_reason, targets, unready


def workload(kind: str, spec: dict[str, Any], status: dict[str, Any], generation: int = 2) -> Any:
    return {
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": spec,
        "status": {"observedGeneration": 2, **status},
    }


def condition(type: str, **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": type, "status": "True", **more}]}


@pytest.mark.parametrize(
    ("obj", "lacks"),
    [
        (workload("Deployment", {}, {}, 3), "has not seen it yet"),
        (
            workload("Deployment", {"replicas": 2}, {"updatedReplicas": 1}),
            "1 of 2 replicas are new",
        ),
        (
            workload("Deployment", {"replicas": 1}, {"updatedReplicas": 1, "replicas": 2}),
            "old replicas that have yet to end: 1",
        ),
        (
            workload("Deployment", {"replicas": 1}, {"updatedReplicas": 1, "replicas": 1}),
            "0 of 1 replicas are available",
        ),
        (
            workload(
                "Deployment",
                {"replicas": 1},
                {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1},
            ),
            "",
        ),
        (workload("Deployment", {"replicas": 0}, {}), ""),
        (
            workload("StatefulSet", {"replicas": 2}, {"readyReplicas": 1}),
            "1 of 2 replicas are ready",
        ),
        (
            workload(
                "StatefulSet",
                {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
                {"readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"},
            ),
            "0 of 1 replicas are new",
        ),
        (
            workload(
                "StatefulSet",
                {"replicas": 1, "updateStrategy": {"type": "OnDelete"}},
                {"readyReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
            ),
            "",
        ),
        (
            workload("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1}),
            "1 of 2 nodes have the new pod",
        ),
        (
            workload("DaemonSet", {}, {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1}),
            "available on 0 of 1 nodes",
        ),
        (workload("Job", {"completions": 3}, {"succeeded": 1}), "1 of 3 completions"),
        (workload("Job", {}, condition("Complete")), ""),
        (workload("Job", {"suspend": True}, {}), ""),
        (workload("Pod", {}, condition("Ready")), ""),
        (workload("Pod", {}, {"phase": "Succeeded"}), ""),
        (workload("Pod", {}, {"phase": "Pending"}), "Pending"),
        (workload("ConfigMap", {}, {}), ""),
    ],
)
def test_what_a_workload_lacks(obj: Any, lacks: str) -> None:
    assert lacks in unready(obj)
    assert bool(unready(obj)) is bool(lacks)


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (workload("Job", {}, condition("Failed", reason="DeadlineExceeded")), "DeadlineExceeded"),
        (workload("Job", {}, condition("Failed")), "the job failed"),
        (workload("Pod", {}, {"phase": "Failed", "reason": "Evicted"}), "Evicted"),
        (workload("Job", {}, {"failed": 1}), ""),
        (workload("Deployment", {}, {}), ""),
    ],
)
def test_what_has_failed_for_good(obj: Any, why: str) -> None:
    assert failed(obj) == why


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            "container main: ImagePullBackOff: no such image",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
            },
            "container main: CrashLoopBackOff; Error (exit code 3)",
        ),
        ({"state": {"running": {}}}, "containers that are not ready: main"),
    ],
    ids=["image", "crash", "probe"],
)
def test_why_a_pod_is_not_ready(status: dict[str, Any], why: str) -> None:
    pod = {"status": {"containerStatuses": [{"name": "main", "ready": False, **status}]}}

    assert pod_reason(pod) == why


def test_the_workloads_among_documents() -> None:
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b"}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "c", "namespace": "x"}},
        {"apiVersion": "other/v1", "kind": "Deployment", "metadata": {"name": "d"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b"}},
    ]

    assert [(str(t), t.namespace) for t in targets(documents, "shop")] == [
        ("deployment/b", "shop"),
        ("job/c", "x"),
    ]
