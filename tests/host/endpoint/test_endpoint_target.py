"""Which pod and port a Service leads to: from documents alone."""

from __future__ import annotations

from typing import Any

import pytest
from forward_world import pod, service
from hypothesis import given
from hypothesis import strategies as some

from cove.host.endpoint import Never, NotYet, Target, resolve, scheme_of
from cove.host.endpoint.target import checked_name, checked_port, checked_scheme, is_ready
from cove.host.errors import AppError

Doc = dict[str, Any]
NAME = "default/web"


def found(service: Doc | None, *pods: Doc, port: int | str = 80, keep: str = "") -> Any:
    return resolve(service, NAME, pods, port, keep)


# -- the port


@pytest.mark.parametrize(
    ("target", "expected"),
    [(8080, 8080), (9000, 9000), ("http", 8080), (None, 80)],
    ids=["number", "another number", "name", "none: the service's own"],
)
def test_the_target_port_is_the_services_not_the_service_port(
    target: int | str | None, expected: int
) -> None:
    assert found(service(80, target), pod()) == Target("web-0", "uid of web-0", expected, 80)


def test_a_port_is_found_by_name() -> None:
    assert found(service(80, 8080), pod(), port="http").port == 8080


def test_a_named_target_port_may_differ_from_pod_to_pod() -> None:
    """As in a rollout that changes it: the number is that of the pod that is chosen."""
    old, new = pod("old"), pod("new")
    new["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090
    both = service(80, "http")
    assert found(both, old, new, keep="uid of old").port == 8080
    assert found(both, old, new, keep="uid of new").port == 9090


def test_a_pod_without_the_named_port_is_passed_over() -> None:
    without = pod("newer")
    without["metadata"]["creationTimestamp"] = "2027-01-01T00:00:00Z"
    del without["spec"]["containers"][0]["ports"]
    assert found(service(80, "http"), pod(), without).pod == "web-0"
    assert found(service(80, "http"), without) == NotYet(
        'pod newer has no port called "http", which port 80 of service default/web leads to'
    )


def test_a_named_port_may_be_a_sidecars() -> None:
    one = pod()
    del one["spec"]["containers"][0]["ports"]
    port = {"name": "http", "containerPort": 15001}
    one["spec"]["initContainers"] = [
        {"name": "setup", "ports": [{"name": "http", "containerPort": 1}]},
        {"name": "mesh", "restartPolicy": "Always", "ports": [port]},
    ]
    assert found(service(80, "http"), one).port == 15001


def test_a_port_that_is_not_exposed_is_told_with_those_that_are() -> None:
    one = service()
    one["spec"]["ports"] = [{"port": 443, "name": "https"}, {"port": 9090}]
    assert found(one, pod()) == NotYet(
        "service default/web exposes no port 80; it has: 443 (https), 9090"
    )
    assert found(one, pod(), port="http").reason.startswith(
        "service default/web exposes no port http"
    )


def test_only_tcp_is_forwarded() -> None:
    one = service()
    one["spec"]["ports"] = [{"port": 53, "protocol": "UDP"}]
    assert "is UDP: only TCP is forwarded" in found(one, pod(), port=53).reason
    one["spec"]["ports"].append({"port": 53, "protocol": "TCP", "targetPort": 5353})
    assert found(one, pod(), port=53).port == 5353


# -- the Service


def test_a_missing_service_is_waited_for() -> None:
    assert found(None, pod()) == NotYet("service default/web does not exist yet")


@pytest.mark.parametrize("selector", [None, {}], ids=["none", "empty"])
def test_an_empty_selector_is_terminal_and_never_all_pods(selector: Doc | None) -> None:
    one = service()
    one["spec"]["selector"] = selector
    answer = found(one, pod(), pod("other", app="other"))
    assert isinstance(answer, Never)
    assert "service default/web has no selector" in answer.reason


def test_an_external_name_is_terminal() -> None:
    one = service(type="ExternalName", externalName="db.example.com")
    answer = found(one, pod())
    assert isinstance(answer, Never)
    assert "db.example.com" in answer.reason


# -- the pod


def test_only_pods_that_the_selector_selects_count() -> None:
    other = pod("other", app="other")
    assert found(service(), other) == NotYet(
        "no pod has the labels of service default/web (app=web)"
    )
    both = service(selector={"app": "web", "tier": "front"})
    assert isinstance(found(both, pod(app="web")), NotYet)
    assert found(both, pod(app="web", tier="front", more="labels")).pod == "web-0"


def test_only_pods_of_the_services_namespace_count() -> None:
    elsewhere = pod()
    elsewhere["metadata"]["namespace"] = "other"
    assert isinstance(found(service(), elsewhere), NotYet)


def _starting() -> Doc:
    one = pod(phase="Pending", ready=False)
    one["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff"}}
    return one


def _crashing() -> Doc:
    one = pod(ready=False)
    one["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    return one


def _half() -> Doc:
    one = pod()
    one["spec"]["containers"].append({"name": "side"})
    return one


def _leaving() -> Doc:
    one = pod()
    one["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return one


def _gated() -> Doc:
    one = pod()
    one["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": "a gate"}]
    return one


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (_starting(), "web-0 is Pending (ImagePullBackOff)"),
        (pod(phase="Succeeded", ready=False), "web-0 is Succeeded"),
        (_crashing(), "web-0 waits for container main (CrashLoopBackOff)"),
        (_half(), "web-0 waits for container side"),
        (_leaving(), "web-0 is going away"),
        (_gated(), "web-0 is not ready (a gate)"),
    ],
    ids=["pending", "done", "crashing", "half", "leaving", "gated"],
)
def test_a_pod_that_is_not_ready_is_not_connected_to(one: Doc, why: str) -> None:
    assert not is_ready(one)
    assert found(service(), one) == NotYet(f"no pod of service default/web is ready: {why}")


def test_a_few_pods_are_named_where_none_is_ready() -> None:
    reason = found(service(), *(pod(f"web-{n}", ready=False) for n in range(10))).reason
    assert reason.count("waits for container main") == 3
    assert reason.endswith("and 7 more")


def test_the_pod_of_before_is_kept_while_it_is_ready() -> None:
    pods = [pod("a"), pod("b"), pod("c")]
    for one in pods:
        assert found(service(), *pods, keep=one["metadata"]["uid"]).pod == one["metadata"]["name"]
    assert found(service(), pods[0], _named("b", ready=False), keep="uid of b").pod == "a"


def _named(name: str, **state: Any) -> Doc:
    return pod(name, **state)


def test_otherwise_it_is_the_newest() -> None:
    old, new = pod("z"), pod("a")
    new["metadata"]["creationTimestamp"] = "2026-06-01T00:00:00Z"
    assert found(service(), old, new).pod == found(service(), new, old).pod == "a"


@given(ready=some.lists(some.booleans(), max_size=6), keep=some.integers(0, 6), data=some.data())
def test_whatever_there_is_a_ready_pod_is_chosen_if_any(
    ready: list[bool], keep: int, data: some.DataObject
) -> None:
    pods = [pod(f"web-{n}", ready=is_) for n, is_ in enumerate(ready)]
    answer = found(service(), *data.draw(some.permutations(pods)), keep=f"uid of web-{keep}")
    if not any(ready):
        assert isinstance(answer, NotYet)
    else:
        assert ready[int(answer.pod.removeprefix("web-"))]
        if keep < len(ready) and ready[keep]:
            assert answer.pod == f"web-{keep}"


# -- what is given


@pytest.mark.parametrize(
    ("port", "override", "scheme"),
    [
        (443, None, "https"),
        (8443, None, "https"),
        ("https", None, "https"),
        (80, None, "http"),
        (8080, None, "http"),
        ("web", None, "http"),
        (443, "http", "http"),
        (80, "https", "https"),
    ],
)
def test_the_scheme_is_that_of_the_port_or_what_is_said(
    port: int | str, override: Any, scheme: str
) -> None:
    assert scheme_of(port, override) == scheme


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9, "0", "65536", True])
def test_a_port_out_of_range_is_refused(port: int | str) -> None:
    with pytest.raises(AppError, match="ports are 1–65535"):
        checked_port(port)


def test_ports_in_range_are_taken() -> None:
    assert [checked_port(p) for p in (1, 65535, "80", "http")] == [1, 65535, 80, "http"]


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_a_blank_name_is_refused(name: str) -> None:
    with pytest.raises(AppError, match="the service's name is blank"):
        checked_name("the service's name", name)
    with pytest.raises(AppError, match="is blank"):
        checked_port(name)


def test_a_scheme_is_http_or_https() -> None:
    with pytest.raises(AppError, match="it is http or https"):
        checked_scheme("ftp")
