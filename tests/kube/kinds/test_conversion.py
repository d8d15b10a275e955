"""Kinds that two versions or groups share come back as they went."""

from __future__ import annotations

from typing import Any

import pytest

from cove.kube import kinds

V2: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "metadata": {"name": "a"},
    "spec": {
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "memory",
                    "target": {"type": "AverageValue", "averageValue": "100Mi"},
                },
            },
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "qps"},
                    "target": {"type": "AverageValue", "averageValue": "10"},
                },
            },
            {
                "type": "Object",
                "object": {
                    "describedObject": {"kind": "Service", "name": "s"},
                    "metric": {"name": "hits"},
                    "target": {"type": "Value", "value": "3"},
                },
            },
            {
                "type": "External",
                "external": {
                    "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "Value", "value": "3"},
                },
            },
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 70},
                },
            },
        ],
        "behavior": {
            "scaleDown": {
                "selectPolicy": "Max",
                "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
            }
        },
    },
    "status": {"desiredReplicas": 2, "currentMetrics": None},
}


def test_an_autoscaler_survives_v1() -> None:
    kind = kinds.kind("autoscaling", "HorizontalPodAutoscaler")

    v1 = kind.convert(V2, "autoscaling/v1")

    assert v1["spec"] == {"maxReplicas": 5, "targetCPUUtilizationPercentage": 70}
    assert kind.convert(v1, "autoscaling/v2") == V2


def test_an_autoscaler_without_metrics_has_one() -> None:
    kind = kinds.kind("autoscaling", "HorizontalPodAutoscaler")
    obj: dict[str, Any] = {
        "apiVersion": "autoscaling/v1",
        "metadata": {},
        "spec": {"maxReplicas": 1},
    }
    kind.default(obj)
    assert obj["spec"]["targetCPUUtilizationPercentage"] == 80


EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "metadata": {"name": "e", "namespace": "n"},
    "involvedObject": {"kind": "Pod", "name": "p"},
    "reason": "R",
    "message": "m",
    "source": {"component": "c"},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "reportingComponent": "x.y/z",
    "reportingInstance": "i",
}


def test_an_event_survives_its_other_group() -> None:
    kind = kinds.kind("events.k8s.io", "Event")

    new = kind.convert(EVENT, "events.k8s.io/v1")

    assert new["regarding"] == EVENT["involvedObject"]
    assert new["note"] == "m"
    assert kind.convert(new, "v1") == EVENT


@pytest.mark.parametrize("group", ["", "events.k8s.io"])
def test_both_groups_index_the_same(group: str) -> None:
    kind = kinds.kind(group, "Event")
    fields = kind.index_fields(EVENT)
    assert fields["involvedObject.name"] == fields["regarding.name"] == "p"
    assert fields["source"] == "c"
    assert ("involvedObject.name" in kind.selectable) == (group == "")
