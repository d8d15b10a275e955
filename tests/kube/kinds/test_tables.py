"""Rows and warnings as kubectl users know them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cove.kube import kinds

NOW = datetime(2024, 1, 1, 1, 0, tzinfo=UTC)
Doc = dict[str, Any]


def pod(status: Doc, meta: Doc | None = None, **spec: Any) -> Doc:
    return {
        "metadata": {"name": "p", "creationTimestamp": "2024-01-01T00:00:00Z", **(meta or {})},
        "spec": {"containers": [{"name": "c"}], **spec},
        "status": status,
    }


def one(state: Doc, **more: Any) -> Doc:
    return {"phase": "Running", "containerStatuses": [{"name": "c", "state": state, **more}]}


PODS: dict[str, tuple[Doc, list[Any]]] = {
    "pending": (pod({"phase": "Pending"}), ["p", "0/1", "Pending", "0", "60m"]),
    "running": (pod(one({"running": {}}, ready=True)), ["p", "1/1", "Running", "0", "60m"]),
    "crashing": (
        pod(
            one(
                {"waiting": {"reason": "CrashLoopBackOff"}},
                restartCount=4,
                lastState={"terminated": {"finishedAt": "2024-01-01T00:58:00Z"}},
            )
        ),
        ["p", "0/1", "CrashLoopBackOff", "4 (2m ago)", "60m"],
    ),
    "killed": (
        pod(one({"terminated": {"signal": 9}})),
        ["p", "0/1", "Signal:9", "0", "60m"],
    ),
    "initializing": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"waiting": {}}}],
            },
            initContainers=[{"name": "i"}],
        ),
        ["p", "0/1", "Init:0/1", "0", "60m"],
    ),
    "going": (
        pod(one({"running": {}}, ready=True), {"deletionTimestamp": "x"}),
        ["p", "1/1", "Terminating", "0", "60m"],
    ),
}


@pytest.mark.parametrize(("doc", "cells"), PODS.values(), ids=PODS)
def test_pod_rows(doc: Doc, cells: list[Any]) -> None:
    assert kinds.kind("", "Pod").row(doc, NOW)[:5] == cells


def test_a_finished_pod_says_so_beside_its_cells() -> None:
    kind = kinds.kind("", "Pod")
    assert kind.row_conditions(pod({"phase": "Running"})) == []
    assert kind.row_conditions(pod({"phase": "Failed"}))[0]["message"] == "The pod failed."


def test_node_roles_and_state() -> None:
    node = {
        "metadata": {
            "name": "n",
            "labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"},
        },
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert kinds.kind("", "Node").row(node, NOW)[1:4] == [
        "Ready,SchedulingDisabled",
        "a,b",
        "<unknown>",
    ]


def test_endpoints_show_three() -> None:
    endpoints = {
        "metadata": {"name": "e"},
        "subsets": [
            {"addresses": [{"ip": f"10.0.0.{i}"} for i in range(5)], "ports": [{"port": 80}]}
        ],
    }
    assert kinds.kind("", "Endpoints").row(endpoints, NOW)[1] == (
        "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    )


WARNINGS: dict[str, tuple[Doc, str]] = {
    "env": (
        {"containers": [{"name": "c", "env": [{"name": "A"}, {"name": "A"}]}]},
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
    ),
    "port": (
        {"containers": [{"name": "c", "ports": [{"containerPort": 1}, {"containerPort": 1}]}]},
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
    ),
    "volume": (
        {"volumes": [{"name": "v", "gitRepo": {}}]},
        "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
    ),
    "fraction": (
        {"containers": [{"name": "c", "resources": {"requests": {"memory": "100m"}}}]},
        'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
    ),
}


@pytest.mark.parametrize(("spec", "text"), WARNINGS.values(), ids=WARNINGS)
def test_pod_warnings(spec: Doc, text: str) -> None:
    obj = {"metadata": {"name": "p"}, "spec": spec}
    assert kinds.kind("", "Pod").warnings(obj, None) == [text]
