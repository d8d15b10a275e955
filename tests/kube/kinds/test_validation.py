"""What is refused, at which path and in which words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cove.kube import kinds
from cove.kube.kinds.batch._cron import schedule_problem
from cove.kube.kinds.core._gojsonerror import object_problem

Doc = dict[str, Any]


def prepared(group: str, kind: str, doc: Doc) -> Doc:
    obj: Doc = copy.deepcopy(doc)
    obj.setdefault("metadata", {"name": "p", "namespace": "n"})
    behaviour = kinds.kind(group, kind)
    behaviour.default(obj)
    behaviour.prepare_create(obj)
    return obj


def faults(group: str, kind: str, doc: Doc) -> list[str]:
    obj = prepared(group, kind, doc)
    return [f"{e.field}: {e.text}" for e in kinds.kind(group, kind).validate_create(obj)]


def pod(container: Doc | None = None, **spec: Any) -> Doc:
    return {"spec": {"containers": [{"name": "c", "image": "i", **(container or {})}], **spec}}


PODS: dict[str, tuple[Doc, list[str]]] = {
    "fine": (pod(), []),
    "none": ({"spec": {}}, ["spec.containers: Required value"]),
    "twice": (
        {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}},
        ['spec.containers[1].name: Duplicate value: "c"'],
    ),
    "port": (
        pod({"ports": [{"containerPort": 70000}]}),
        [
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
        ],
    ),
    "host port twice": (
        pod({"ports": [{"containerPort": 1, "hostPort": 8}, {"containerPort": 2, "hostPort": 8}]}),
        ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8"'],
    ),
    "mount of nothing": (
        pod({"volumeMounts": [{"name": "v", "mountPath": "/x"}]}),
        ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
    ),
    "two sources": (
        pod(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]),
        ["spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"],
    ),
    "request above limit": (
        pod({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
        [
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
        ],
    ),
    "claim nobody has": (
        pod({"resources": {"claims": [{"name": "x"}]}}),
        [
            'spec.containers[0].resources.claims[0]: Not found: "x": must be one of the names in pod.spec.resourceClaims which is empty'
        ],
    ),
    "probe": (
        pod({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}),
        ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    "toleration": (
        pod(tolerations=[{"key": "a", "effect": "Maybe"}]),
        [
            'spec.tolerations[0].effect: Unsupported value: "Maybe": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
        ],
    ),
    "windows": (
        pod(os={"name": "windows"}, securityContext={"runAsUser": 1}),
        ["spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"],
    ),
    "dns": (
        pod(dnsPolicy="None"),
        ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    ),
}


@pytest.mark.parametrize(("doc", "wanted"), PODS.values(), ids=PODS)
def test_pods(doc: Doc, wanted: list[str]) -> None:
    assert faults("", "Pod", doc) == wanted


OTHERS: dict[str, tuple[str, str, Doc, list[str]]] = {
    "selector misses template": (
        "apps",
        "ReplicaSet",
        {
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"c": "d"}}, "spec": pod()["spec"]},
            }
        },
        [
            'spec.template.metadata.labels: Invalid value: {"c":"d"}: `selector` does not match template `labels`'
        ],
    ),
    "unknown strategy is told as Go's type": (
        "apps",
        "Deployment",
        {
            "spec": {
                "strategy": {"type": "X"},
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]},
            }
        },
        [
            'spec.strategy: Unsupported value: {"Type":"X","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"'
        ],
    ),
    "a claim's template may be mounted": (
        "apps",
        "StatefulSet",
        {
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": pod({"volumeMounts": [{"name": "data", "mountPath": "/data"}]})["spec"],
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            }
        },
        [],
    ),
    "service without ports": ("", "Service", {"spec": {}}, ["spec.ports: Required value"]),
    "external name": (
        "",
        "Service",
        {"spec": {"type": "ExternalName"}},
        ["spec.externalName: Required value"],
    ),
    "config map key": (
        "",
        "ConfigMap",
        {"data": {"..": ""}},
        ["data[..]: Invalid value: \"..\": must not be '..'"],
    ),
    "ingress": (
        "networking.k8s.io",
        "Ingress",
        {"spec": {}},
        ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    ),
    "budget": (
        "policy",
        "PodDisruptionBudget",
        {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
        [
            'spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":1,"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set'
        ],
    ),
}


@pytest.mark.parametrize(("group", "kind", "doc", "wanted"), OTHERS.values(), ids=OTHERS)
def test_other_kinds(group: str, kind: str, doc: Doc, wanted: list[str]) -> None:
    assert faults(group, kind, doc) == wanted


def test_a_forbidden_change_of_a_pod_is_told_as_a_diff() -> None:
    old = prepared("", "Pod", pod())
    new = copy.deepcopy(old)
    new["spec"]["nodeSelector"] = {"a": "b"}

    (error,) = kinds.kind("", "Pod").validate_update(new, old)

    assert error.field == "spec"
    assert error.text.partition("\n")[2] == (
        "@@ -39,7 +39,9 @@\n"
        '  "TerminationGracePeriodSeconds": 30,\n'
        '  "ActiveDeadlineSeconds": null,\n'
        '  "DNSPolicy": "ClusterFirst",\n'
        '- "NodeSelector": null,\n'
        '+ "NodeSelector": {\n'
        '+  "a": "b"\n'
        "+ },\n"
        '  "ServiceAccountName": "",\n'
        '  "AutomountServiceAccountToken": null,\n'
        '  "NodeName": "",\n'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"containers": [{"name": "c", "image": "other"}]},
        {"activeDeadlineSeconds": 5},
        {"tolerations": [{"key": "a", "operator": "Exists"}]},
    ],
    ids=["image", "deadline", "toleration"],
)
def test_what_may_change_on_a_pod(change: Doc) -> None:
    old = prepared("", "Pod", pod())
    new = prepared("", "Pod", {"spec": {**pod()["spec"], **change}})
    for container in new["spec"]["containers"]:
        container["imagePullPolicy"] = "Always"
    assert kinds.kind("", "Pod").validate_update(new, old) == []


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("*/5 0-4,8 1 jan mon", ""),
        ("@hourly", ""),
        ("@every 1h", ""),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * L * *", 'failed to parse int from L: strconv.Atoi: parsing "L": invalid syntax'),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("@never", "unrecognized descriptor: @never"),
    ],
)
def test_cron_schedules(schedule: str, problem: str) -> None:
    assert schedule_problem(schedule) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": [1, true, null, "x"]}', ""),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("{", "unexpected end of JSON input"),
        ("{a}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ],
)
def test_json_faults_in_gos_words(text: str, problem: str) -> None:
    assert object_problem(text.encode()) == problem
