"""Autoscalers: metrics in, sizes out, and what is said on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import NAMESPACE, World, pod_template

from cove.client import ManualClock
from cove.controllers import Manager
from cove.controllers._resources import (
    AUTOSCALERS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    PODS,
)
from cove.controllers.autoscaler._behavior import Memory, follow
from cove.controllers.autoscaler._calculator import (
    Groups,
    Sample,
    Tolerance,
    by_object,
    by_pods,
    grouped,
)
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.times import format_time
from cove.node import SimulatedNodes

Doc = dict[str, Any]

USUAL = Tolerance(0.1, 0.1)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
POD_METRICS = GVR("metrics.k8s.io", "v1beta1", "pods")


def size(values: dict[str, int], current: int, target: int, **groups: Any) -> int:
    known = {"unready": set(), "missing": set(), "ignored": set(), **groups}
    return by_pods(
        values,
        Groups(len(values), **known),
        current,
        USUAL,
        lambda found: sum(found.values()) / len(found) / target,
        lambda _: target,
    )


@pytest.mark.parametrize(
    ("values", "groups", "expected"),
    [
        pytest.param({"a": 200, "b": 200}, {}, 4, id="twice as much"),
        pytest.param({"a": 50, "b": 50}, {}, 1, id="half as much"),
        pytest.param({"a": 109, "b": 109}, {}, 2, id="within tolerance"),
        pytest.param({"a": 200}, {"unready": {"b"}}, 1, id="unready pods use nothing"),
        pytest.param({"a": 300}, {"missing": {"b"}}, 3, id="missing ones use nothing either"),
        pytest.param({"a": 10}, {"missing": {"b"}}, 2, id="or all they asked for"),
    ],
)
def test_the_size_for_what_pods_use(values: dict[str, int], groups: Doc, expected: int) -> None:
    current = 1 if groups.get("unready") else 2
    assert size(values, current, 100, **groups) == expected


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=9),
    st.integers(1, 500),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_doubt_never_turns_the_direction(
    used: list[int], target: int, unready: int, missing: int
) -> None:
    values = {f"p{i}": v for i, v in enumerate(used)}
    current = len(used) + unready + missing
    found = size(
        values,
        current,
        target,
        unready={f"u{i}" for i in range(unready)},
        missing={f"m{i}" for i in range(missing)},
    )
    if sum(used) > len(used) * target and (unready or missing):
        assert found >= current or not missing
    if sum(used) < len(used) * target and missing:
        assert found <= current


@pytest.mark.parametrize(
    ("value", "target", "average", "expected"),
    [(900, 300, False, 6), (900, 300, True, 3), (310, 300, False, 2), (0, 300, False, 0)],
)
def test_the_size_for_one_number(value: int, target: int, average: bool, expected: int) -> None:
    assert by_object(value, target, 2, 2, USUAL, average=average) == expected


def test_pods_that_just_started_are_not_believed() -> None:
    def pod(name: str, age: int, **status: Any) -> Doc:
        started = format_time(NOW - timedelta(seconds=age))
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": started}
        return {
            "metadata": {"name": name},
            "status": {"phase": "Running", "startTime": started, "conditions": [ready], **status},
        }

    sample = Sample(1, NOW - timedelta(seconds=30), timedelta(minutes=1))
    pods = [pod("old", 600), pod("new", 60), pod("failed", 600, phase="Failed"), pod("mute", 600)]
    samples = dict.fromkeys(("old", "new", "failed"), sample)
    found = grouped(pods, samples, NOW, cpu=True)
    assert found == Groups(1, {"new"}, {"mute"}, {"failed"})
    assert grouped(pods, samples, NOW, cpu=False).ready == 2


def test_a_lower_wish_waits_for_the_highest_of_five_minutes() -> None:
    memory = Memory(0.0, 5)
    held = follow(memory, 60.0, 5, 2, 1, 10, None)
    assert (held.replicas, held.able[0]) == (5, "ScaleDownStabilized")
    assert follow(memory, 301.0, 5, 2, 1, 10, None).replicas == 2


def test_without_behaviour_growth_doubles_at_most() -> None:
    found = follow(Memory(0.0, 3), 0.0, 3, 50, 1, 100, None)
    assert (found.replicas, found.limited, found.why[0]) == (6, True, "ScaleUpLimit")


@pytest.mark.parametrize(
    ("rules", "wish", "expected", "reason"),
    [
        pytest.param(
            {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}},
            9,
            6,
            "ScaleUpLimit",
            id="pods",
        ),
        pytest.param({"scaleUp": {"selectPolicy": "Disabled"}}, 9, 4, "ScaleUpLimit", id="off"),
        pytest.param(
            {
                "scaleDown": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [
                        {"type": "Percent", "value": 50, "periodSeconds": 60},
                        {"type": "Pods", "value": 1, "periodSeconds": 60},
                    ],
                    "selectPolicy": "Min",
                }
            },
            1,
            3,
            "ScaleDownLimit",
            id="the gentler",
        ),
        pytest.param(
            {"scaleDown": {"stabilizationWindowSeconds": 0}}, 2, 2, "DesiredWithinRange", id="free"
        ),
    ],
)
def test_policies_bound_the_pace(rules: Doc, wish: int, expected: int, reason: str) -> None:
    found = follow(Memory(0.0, 4), 0.0, 4, wish, 1, 10, rules)
    assert (found.replicas, found.why[0]) == (expected, reason)


def test_a_policy_remembers_what_its_period_has_seen() -> None:
    rules = {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    memory = Memory(0.0, 4)
    memory.changed(0.0, 2)
    assert follow(memory, 30.0, 6, 9, 1, 10, rules).replicas == 6
    assert follow(memory, 61.0, 6, 9, 1, 10, rules).replicas == 8


def metrics_api() -> Doc:
    """An API for metrics as good as any: a collection that a test writes to."""
    return {
        "metadata": {
            "name": "pods.metrics.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "metrics.k8s.io",
            "scope": "Namespaced",
            "names": {"plural": "pods", "kind": "PodMetrics", "listKind": "PodMetricsList"},
            "versions": [
                {
                    "name": "v1beta1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }


async def test_a_deployment_follows_its_cpu(api: EmbeddedCluster) -> None:
    clock, world = ManualClock(), World(api.client)
    async with Manager(api.client, clock=clock) as manager:
        async with SimulatedNodes(api.client, 1, clock=clock, informers=manager.informers):
            template = pod_template({"app": "d"})
            template["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
            selector = {"matchLabels": {"app": "d"}}
            body = {"spec": {"replicas": 1, "selector": selector, "template": template}}
            await world.create(DEPLOYMENTS, "d", body)
            await world.one(DEPLOYMENTS, "d", lambda o: o["status"].get("readyReplicas") == 1)
            target = {"type": "Utilization", "averageUtilization": 50}
            metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
            ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
            await world.create(
                AUTOSCALERS,
                "d",
                {"spec": {"scaleTargetRef": ref, "maxReplicas": 9, "metrics": [metric]}},
            )

            async def until(reason: str) -> Doc:
                """Let rounds pass until a condition has a reason."""
                for _ in range(40):
                    await manager.idle()
                    clock.advance(15)
                    await manager.idle()
                    found = await api.client.get(AUTOSCALERS, "d", NAMESPACE)
                    conditions = found.get("status", {}).get("conditions", ())
                    if any(c["reason"] == reason for c in conditions):
                        return found
                raise AssertionError(f"{reason} was not seen")

            blind = await until("FailedGetResourceMetric")
            (_, active) = sorted(blind["status"]["conditions"], key=lambda c: c["type"])
            assert active["message"].startswith(
                "the HPA was unable to compute the replica count: failed to get cpu utilization: "
                "unable to get metrics for resource cpu: unable to fetch metrics from resource "
                "metrics API: the server could not find the requested resource"
            )
            await api.client.create(CUSTOM_RESOURCE_DEFINITIONS, metrics_api())
            await world.until(
                CUSTOM_RESOURCE_DEFINITIONS,
                lambda found: any(
                    c["type"] == "Established" and c["status"] == "True"
                    for o in found
                    for c in o.get("status", {}).get("conditions", ())
                ),
            )
            (pod,) = (await api.client.list(PODS, NAMESPACE)).items
            await api.client.create(
                POD_METRICS,
                {
                    "apiVersion": "metrics.k8s.io/v1beta1",
                    "kind": "PodMetrics",
                    "metadata": {"name": pod["metadata"]["name"], "labels": {"app": "d"}},
                    "timestamp": format_time(clock.now() + timedelta(hours=1)),
                    "window": "15s",
                    "containers": [{"name": "c", "usage": {"cpu": "150m"}}],
                },
                NAMESPACE,
            )
            grown = await until("SucceededRescale")
            assert grown["status"]["desiredReplicas"] == 3
            assert grown["status"]["currentMetrics"] == [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "current": {"averageUtilization": 150, "averageValue": "150m"},
                    },
                }
            ]
            await world.one(DEPLOYMENTS, "d", lambda o: o["status"].get("readyReplicas") == 3)
