"""Pure quota rules: usage, matching names, scopes, tallies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cove.kube import quota

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def used(storage: str, obj: dict[str, Any]) -> dict[str, str]:
    return {name: str(amount) for name, amount in quota.usage(storage, obj, NOW).items()}


def pod(*, requests: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": requests or {}}}
    return {"metadata": {}, "spec": {"containers": [container]}, **more}


def test_a_pod_uses_what_it_requests() -> None:
    assert used("pods", pod(requests={"cpu": "1", "hugepages-2Mi": "4Mi", "e.com/gpu": "2"})) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "1",
        "requests.cpu": "1",
        "hugepages-2Mi": "4Mi",
        "requests.hugepages-2Mi": "4Mi",
        "requests.e.com/gpu": "2",
    }


@pytest.mark.parametrize(
    "state",
    [
        {"status": {"phase": "Succeeded"}},
        {
            "metadata": {
                "deletionTimestamp": "2025-12-31T23:59:00Z",
                "deletionGracePeriodSeconds": 30,
            }
        },
    ],
    ids=["ended", "overdue"],
)
def test_a_pod_past_its_end_is_only_counted(state: dict[str, Any]) -> None:
    assert used("pods", pod(requests={"cpu": "1"}, **state)) == {"count/pods": "1"}


def test_sidecars_count_with_the_containers_and_with_later_init_containers() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": "x", "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [container("1")],
        "initContainers": [container("2", restartPolicy="Always"), container("5")],
        "overhead": {"cpu": "100m"},
    }
    assert used("pods", {"metadata": {}, "spec": spec})["cpu"] == "7100m"


@pytest.mark.parametrize(
    ("spec", "balancers", "ports"),
    [
        ({"type": "ClusterIP", "ports": [{}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{}, {}]}, "0", "2"),
        ({"type": "LoadBalancer", "ports": [{}]}, "1", "1"),
        (
            {
                "type": "LoadBalancer",
                "allocateLoadBalancerNodePorts": False,
                "ports": [{}, {"nodePort": 1}],
            },
            "1",
            "1",
        ),
    ],
)
def test_services(spec: dict[str, Any], balancers: str, ports: str) -> None:
    found = used("services", {"spec": spec})
    assert (found["services.loadbalancers"], found["services.nodeports"]) == (balancers, ports)


def test_claims_are_counted_by_class_and_in_whole_bytes() -> None:
    claim = {
        "metadata": {},
        "spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}},
    }
    assert used("persistentvolumeclaims", claim) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "requests.storage": "2",
        "gold.storageclass.storage.k8s.io/requests.storage": "2",
    }


def test_device_claims_count_the_worst_alternative() -> None:
    requests = [
        {"exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
        {
            "firstAvailable": [
                {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
                {"deviceClassName": "gpu", "allocationMode": "All"},
            ]
        },
    ]
    found = used("resourceclaims.resource.k8s.io", {"spec": {"devices": {"requests": requests}}})
    assert found["gpu.deviceclass.resource.k8s.io/devices"] == "34"


def test_names_are_found_for_every_resource() -> None:
    names = ["pods", "requests.e.com/gpu", "count/deployments.apps", "requests.storage", "cpu"]
    assert quota.matching("pods", names) == ["pods", "requests.e.com/gpu", "cpu"]
    assert quota.matching("deployments.apps", names) == ["count/deployments.apps"]
    assert quota.resources(names) == {"pods", "deployments.apps", "persistentvolumeclaims"}


@pytest.mark.parametrize(
    ("requirement", "name", "expected"),
    [
        ({"operator": "In", "values": ["high"]}, "high", True),
        ({"operator": "In", "values": ["high"]}, None, False),
        ({"operator": "NotIn", "values": ["high"]}, "low", True),
        ({"operator": "NotIn", "values": ["high"]}, None, True),
        ({"operator": "Exists"}, None, False),
        ({"operator": "DoesNotExist"}, None, True),
    ],
)
def test_priority_classes(requirement: dict[str, Any], name: str | None, expected: bool) -> None:
    one = pod()
    if name:
        one["spec"]["priorityClassName"] = name
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", **requirement}]}
    assert quota.in_scope("pods", {"spec": {"scopeSelector": selector}}, one) is expected


def test_a_tally_starts_at_zero_and_sees_only_the_scope() -> None:
    hard = {"pods": "9", "requests.cpu": "9", "count/jobs.batch": "1", "unknown": "1"}
    pods = [pod(requests={"cpu": "500m"}), pod(), pod(requests={"cpu": "1"})]

    def objects(storage: str) -> list[dict[str, Any]]:
        return pods if storage == "pods" else []

    assert quota.tally({"spec": {"hard": hard}}, objects, NOW) == {
        "count/jobs.batch": "0",
        "pods": "3",
        "requests.cpu": "1500m",
    }
    scoped = {"spec": {"hard": hard, "scopes": ["NotBestEffort"]}}
    assert quota.tally(scoped, objects, NOW)["pods"] == "2"
