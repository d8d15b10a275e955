"""Defaults are those of SetDefaults_* upstream, and applying them again changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cove.kube import kinds
from cove.kube.kinds._podspec.defaults import image_pull_policy

CONTAINER = {
    "name": "c",
    "image": "i",
    "imagePullPolicy": "Always",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
SPEC = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("localhost:5000/a/b", "Always"),
        ("localhost:5000/a/b:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
        ("Not Valid", "IfNotPresent"),
        ("UPPER/name", "Always"),
        ("", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert image_pull_policy(image) == policy


CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "pod": (
        "",
        "Pod",
        {"spec": {"containers": [{"name": "c", "image": "i"}]}},
        {"spec": {**SPEC, "containers": [CONTAINER], "enableServiceLinks": True}},
    ),
    "pod requests from limits": (
        "",
        "Pod",
        {
            "spec": {
                "containers": [
                    {
                        **CONTAINER,
                        "resources": {
                            "limits": {"cpu": "1", "memory": "1Gi"},
                            "requests": {"cpu": "100m"},
                        },
                    }
                ]
            }
        },
        {
            "spec": {
                **SPEC,
                "enableServiceLinks": True,
                "containers": [
                    {
                        **CONTAINER,
                        "resources": {
                            "limits": {"cpu": "1", "memory": "1Gi"},
                            "requests": {"cpu": "100m", "memory": "1Gi"},
                        },
                    }
                ],
            }
        },
    ),
    "deployment": (
        "apps",
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [CONTAINER]}}}},
        {
            "spec": {
                "replicas": 1,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
                },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "template": {"spec": {**SPEC, "containers": [CONTAINER]}},
            }
        },
    ),
    "service": (
        "",
        "Service",
        {"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}},
        {
            "spec": {
                "type": "LoadBalancer",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
                "sessionAffinity": "None",
                "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": True,
            }
        },
    ),
    "secret": (
        "",
        "Secret",
        {"stringData": {"a": "b"}},
        {"type": "Opaque", "data": {"a": "Yg=="}},
    ),
    "limit range": (
        "",
        "LimitRange",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}}]}},
        {
            "spec": {
                "limits": [
                    {
                        "type": "Container",
                        "max": {"cpu": "2"},
                        "min": {"memory": "1"},
                        "default": {"cpu": "2"},
                        "defaultRequest": {"cpu": "2", "memory": "1"},
                    }
                ]
            }
        },
    ),
    "network policy": (
        "networking.k8s.io",
        "NetworkPolicy",
        {"spec": {"egress": [{"ports": [{"port": 1}]}]}},
        {
            "spec": {
                "egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}],
                "policyTypes": ["Ingress", "Egress"],
            }
        },
    ),
    "role binding": (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        {"roleRef": {"kind": "Role"}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]},
        {
            "roleRef": {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [
                {"kind": "User", "apiGroup": "rbac.authorization.k8s.io"},
                {"kind": "ServiceAccount"},
            ],
        },
    ),
}


@pytest.mark.parametrize(("group", "kind", "given", "wanted"), CASES.values(), ids=CASES)
def test_defaults(group: str, kind: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    obj = copy.deepcopy(given)
    kinds.kind(group, kind).default(obj)
    assert obj == wanted

    kinds.kind(group, kind).default(obj)
    assert obj == wanted


def test_a_job_gets_a_selector_of_its_own() -> None:
    job: dict[str, Any] = {"metadata": {"name": "j", "uid": "u"}, "spec": {}}
    kind = kinds.kind("batch", "Job")
    kind.default(job)
    kind.prepare_create(job)

    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    assert job["metadata"]["generation"] == 1
