"""What an update keeps, and when it counts as a new generation."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cove.kube import kinds
from cove.kube.kinds import scale
from cove.kube.kinds.core.service import carry_over, normalize_cluster_ips, release

Doc = dict[str, Any]


def stored(group: str, kind: str, doc: Doc) -> Doc:
    obj = copy.deepcopy(doc)
    behaviour = kinds.kind(group, kind)
    behaviour.default(obj)
    behaviour.prepare_create(obj)
    return obj


@pytest.mark.parametrize(
    ("change", "generation"),
    [({"spec": {"replicas": 3}}, 2), ({"metadata": {"annotations": {"a": "b"}}}, 2), ({}, 1)],
    ids=["spec", "annotations", "nothing"],
)
def test_the_generation_of_a_deployment(change: Doc, generation: int) -> None:
    old = stored("apps", "Deployment", {"metadata": {"name": "d"}, "spec": {}})
    new = copy.deepcopy(old)
    for key, value in change.items():
        new[key].update(value)
    new["status"] = {"replicas": 9}

    kinds.kind("apps", "Deployment").prepare_update(new, old)

    assert new["metadata"]["generation"] == generation
    assert new["status"] == {}


def test_a_status_write_keeps_the_spec() -> None:
    old = stored("apps", "Deployment", {"metadata": {"name": "d"}, "spec": {"replicas": 2}})
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 5
    new["status"] = {"replicas": 1}

    kinds.kind("apps", "Deployment").prepare_status(new, old)

    assert new["spec"]["replicas"] == 2
    assert new["status"] == {"replicas": 1}


def test_a_service_keeps_its_address_and_ports() -> None:
    old = {
        "type": "NodePort",
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}],
    }
    new: Doc = {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}
    carry_over(new, old)
    assert new == old


def test_a_service_that_changes_its_type_lets_go() -> None:
    old: Doc = {
        "type": "ClusterIP",
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "internalTrafficPolicy": "Cluster",
        "ports": [],
    }
    new: Doc = {**old, "type": "ExternalName", "externalName": "a.b"}
    release(new, old)
    assert new == {"type": "ExternalName", "externalName": "a.b", "ports": []}


def test_cluster_ip_and_cluster_ips_are_one() -> None:
    spec: Doc = {"clusterIP": "None"}
    normalize_cluster_ips(spec, None)
    assert spec["clusterIPs"] == ["None"]


@pytest.mark.parametrize(
    ("spec", "status", "asked", "seconds"),
    [
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, {}, None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, {}, 5, 5),
        ({"nodeName": "n"}, {}, -1, 1),
        ({"terminationGracePeriodSeconds": 30}, {}, None, 0),
        ({"nodeName": "n"}, {"phase": "Failed"}, 30, 0),
    ],
    ids=["spec", "asked", "negative", "unscheduled", "finished"],
)
def test_grace_of_pods(spec: Doc, status: Doc, asked: int | None, seconds: int) -> None:
    pod = {"metadata": {}, "spec": spec, "status": status}
    assert kinds.kind("", "Pod").grace_period(pod, asked) == seconds


def test_scale_of_a_deployment() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "metadata": {"name": "d", "namespace": "n", "uid": "u", "labels": {"x": "y"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}},
        "status": {"replicas": 1},
    }
    shown = scale.scale_of(deployment)
    assert shown["metadata"] == {"name": "d", "namespace": "n", "uid": "u"}
    assert shown["spec"] == {"replicas": 2}
    assert shown["status"] == {"replicas": 1, "selector": "a=b"}

    shown["spec"]["replicas"] = 7
    assert scale.apply_scale(deployment, shown)["spec"]["replicas"] == 7
    assert scale.validate_scale({"spec": {"replicas": -1}})[0].field == "spec.replicas"
