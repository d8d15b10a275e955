"""LimitRanges: defaults and bounds."""

from __future__ import annotations

from typing import Any

import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.admission.limitranger import claim_errors, defaults, pod_errors

PODS = GVR("", "v1", "pods")
RANGES = GVR("", "v1", "limitranges")


def pod(*containers: dict[str, Any], init: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "containers": [{"name": f"c{i}", "resources": r} for i, r in enumerate(containers)]
    }
    if init:
        spec["initContainers"] = [{"name": f"i{i}", **c} for i, c in enumerate(init)]
    return {"metadata": {"name": "p"}, "spec": spec}


def test_defaults_fill_what_is_missing_and_are_told() -> None:
    one = pod({"requests": {"cpu": "1"}}, {}, init=[{}])
    limits = [
        {
            "type": "Container",
            "default": {"cpu": "2"},
            "defaultRequest": {"cpu": "1", "memory": "1Gi"},
        }
    ]
    defaults(one, limits)
    assert [c["resources"] for c in one["spec"]["containers"]] == [
        {"limits": {"cpu": "2"}, "requests": {"cpu": "1", "memory": "1Gi"}}
    ] * 2
    assert one["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: memory request for container c0; "
        "cpu limit for container c0; cpu, memory request for container c1; cpu limit for "
        "container c1; cpu, memory request for init container i0; cpu limit for init container i0"
    }


def test_what_is_complete_is_not_annotated() -> None:
    one = pod({"requests": {"cpu": "1"}})
    defaults(one, [{"type": "Container", "defaultRequest": {"cpu": "2"}}])
    assert "annotations" not in one["metadata"]


@pytest.mark.parametrize(
    ("limit", "resources", "text"),
    [
        (
            {"min": {"cpu": "1"}},
            {},
            "minimum cpu usage per Container is 1.  No request is specified",
        ),
        (
            {"min": {"cpu": "1"}},
            {"requests": {"cpu": "500m"}},
            "minimum cpu usage per Container is 1, but request is 500m",
        ),
        (
            {"min": {"cpu": "1"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "500m"}},
            "minimum cpu usage per Container is 1, but limit is 500m",
        ),
        ({"max": {"cpu": "1"}}, {}, "maximum cpu usage per Container is 1.  No limit is specified"),
        (
            {"max": {"cpu": "1"}},
            {"limits": {"cpu": "2"}},
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            {"max": {"cpu": "1"}},
            {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
            "maximum cpu usage per Container is 1, but request is 2",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"limits": {"cpu": "3"}},
            "cpu max limit to request ratio per Container is 2, but no request is specified or "
            "request is 0",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "3"}},
            "cpu max limit to request ratio per Container is 2, but no limit is specified or "
            "limit is 0",
        ),
    ],
)
def test_bounds_of_containers(limit: dict[str, Any], resources: dict[str, Any], text: str) -> None:
    assert list(pod_errors(pod(resources), [{"type": "Container", **limit}])) == [text]


def test_bounds_of_pods_see_the_greater_of_init_and_sum() -> None:
    one = pod(
        {"limits": {"cpu": "1"}},
        {"limits": {"cpu": "1"}},
        init=[{"resources": {"limits": {"cpu": "3"}}}],
    )
    assert list(pod_errors(one, [{"type": "Pod", "max": {"cpu": "2"}}])) == [
        "maximum cpu usage per Pod is 2, but limit is 3"
    ]


def test_bounds_of_claims() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    limit = {"type": "PersistentVolumeClaim", "min": {"storage": "4Gi"}, "max": {"storage": "2Gi"}}
    assert list(claim_errors(claim, [limit])) == [
        "minimum storage usage per PersistentVolumeClaim is 4Gi, but request is 3Gi",
        "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
    ]


async def test_several_faults_are_told_in_brackets(api: EmbeddedCluster) -> None:
    await api.client.create(
        RANGES,
        {
            "metadata": {"name": "r"},
            "spec": {"limits": [{"type": "Container", "max": {"cpu": "1", "memory": "1Mi"}}]},
        },
        "default",
    )
    body = pod({"limits": {"cpu": "2", "memory": "2Mi"}})
    body["spec"]["containers"][0]["image"] = "i"
    with pytest.raises(StatusError) as e:
        await api.client.create(PODS, body, "default")
    assert e.value.code == 403
    assert e.value.message == (
        'pods "p" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, '
        "maximum memory usage per Container is 1Mi, but limit is 2Mi]"
    )
