"""``expect`` says at once what is not so, where it came from, and records every comparison."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.testing.values.recorded_world import POD, answered

from cove.testing.values import expect

HERE = "test_expect.py"


def test_what_is_so_is_recorded() -> None:
    timeline, pod = answered()

    assert expect(pod.status.phase) == "Pending"

    (made,) = timeline.assertions
    assert (made.path, made.operator, made.expected, made.actual) == (
        "status.phase", "==", "'Pending'", "'Pending'",
    )  # fmt: skip
    assert (made.passed, made.via, made.call) == (True, "expect", 1)
    assert re.search(rf"{HERE}:\d+$", made.where)
    assert made.source == 'assert expect(pod.status.phase) == "Pending"'


def test_what_is_not_so_says_what_and_from_where() -> None:
    timeline, pod = answered()

    with pytest.raises(AssertionError) as failed:
        expect(pod.status.phase) == "Running"

    assert str(failed.value) == (
        "expected status.phase == 'Running', but it is 'Pending'\n"
        "  from GET pods/web in default → status.phase"
    )
    assert [a.passed for a in timeline.assertions] == [False]


def test_documents_are_compared_by_a_diff() -> None:
    _, pod = answered()

    with pytest.raises(AssertionError) as failed:
        expect(pod.metadata) == {"name": "web", "namespace": "shop"}

    assert "  -namespace: shop" in str(failed.value).splitlines()
    assert "  +namespace: default" in str(failed.value).splitlines()
    assert "GET pods/web in default → metadata" in str(failed.value)


def _said(pod: Any) -> dict[str, tuple[Any, Any]]:
    """By name: what holds of the pod, and what does not."""
    port = pod.spec.containers[0].ports[0].container_port
    return {
        "!=": (lambda: expect(pod.status.phase) != "x", lambda: expect(port) != 80),
        "<": (lambda: expect(port) < 81, lambda: expect(port) < 80),
        "<=": (lambda: expect(port) <= 80, lambda: expect(port) <= 79),
        ">": (lambda: expect(port) > 79, lambda: expect(port) > 80),
        ">=": (lambda: expect(port) >= 80, lambda: expect(port) >= 81),
        "in": (
            lambda: expect(pod.status.phase).to_be_in(["Pending"]),
            lambda: expect(pod.status.phase).to_be_in(["Running"]),
        ),
        "contains": (
            lambda: "app" in expect(pod.metadata.labels),
            lambda: "tier" in expect(pod.metadata.labels),
        ),
        "part": (
            lambda: expect(pod.metadata.name).to_contain("we"),
            lambda: expect(pod.metadata.name).to_contain("x"),
        ),
        "subset": (
            lambda: expect(pod).to_contain({"spec": {"containers": [{"image": "x"}]}}),
            lambda: expect(pod).to_contain({"spec": {"containers": [{"image": "y"}]}}),
        ),
        "match": (
            lambda: expect(pod.status.pod_ip).to_match(r"^10\."),
            lambda: expect(pod.status.pod_ip).to_match(r"^11\."),
        ),
        "none": (
            lambda: expect(pod.metadata.uid).to_be_none(),
            lambda: expect(pod.metadata.name).to_be_none(),
        ),
        "set": (
            lambda: expect(pod.metadata.name).to_be_set(),
            lambda: expect(pod.metadata.uid).to_be_set(),
        ),
        "true": (
            lambda: expect(pod.spec.host_network == False).to_be_true(),  # noqa: E712
            lambda: expect(pod.spec.host_network).to_be_true(),
        ),
        "false": (
            lambda: expect(pod.spec.host_network).to_be_false(),
            lambda: expect(pod.metadata.uid).to_be_false(),
        ),
        "length": (
            lambda: expect(pod.spec.containers).to_have_length(1),
            lambda: expect(pod.spec.containers).to_have_length(2),
        ),
        "equal": (
            lambda: expect(pod.status.phase).to_equal("Pending"),
            lambda: expect(pod.status.phase).to_equal("Running"),
        ),
    }


@pytest.mark.parametrize("name", _said(answered()[1]))
def test_all_that_can_be_said(name: str) -> None:
    timeline, pod = answered()
    holds, fails = _said(pod)[name]

    assert holds() is True
    with pytest.raises(AssertionError, match="expected "):
        fails()

    assert [a.passed for a in timeline.assertions][-1:] == [False]
    assert all(a.via == "expect" and HERE in a.where for a in timeline.assertions)


def test_a_length_that_is_another_is_told() -> None:
    _, pod = answered()

    with pytest.raises(AssertionError, match=r"spec\.containers has length 2, but it is 1\n"):
        expect(pod.spec.containers).to_have_length(2)


def test_the_recorded_side_may_be_either_and_inside_of_a_container() -> None:
    timeline, pod = answered()

    expect("Pending") == pod.status.phase
    expect([c.name for c in pod.spec.containers]) == ["c"]

    assert [a.path for a in timeline.assertions] == ["status.phase", "spec.containers[0].name"]


def test_values_from_nowhere_are_compared_as_well() -> None:
    expect(3) == 3
    with pytest.raises(AssertionError, match=r"^expected the value == 4, but it is 3$"):
        expect(3) == 4


def test_misuse_is_explained() -> None:
    _, pod = answered()

    with pytest.raises(TypeError, match=r"says nothing yet"):
        assert expect(pod.status.phase)
    with pytest.raises(TypeError, match=r"to_be_in"):
        _ = expect(pod.status.phase) in ("Pending", "Running")
    with pytest.raises(AttributeError, match=r"expect\(x\.status\)"):
        _ = expect(pod).status
    with pytest.raises(TypeError, match=r"'<' not supported .*\n  from GET pods/web"):
        expect(pod.status.phase) < 3


def test_what_is_secret_is_not_written_down() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"password": "aHVudGVy"}}
    timeline, recorded = answered(secret, resource="secrets", name="db")

    expect(recorded["data"]["password"]) == "aHVudGVy"
    with pytest.raises(AssertionError) as failed:
        expect(recorded.data) == {"password": "b3RoZXI="}
    assert recorded["data"]["password"] == "aHVudGVy"
    assert recorded["kind"] == "Secret"

    written = str(timeline.to_json()) + str(failed.value)
    assert "GET secrets/db in default → data" in written
    assert "'Secret'" in written
    for value in ("aHVudGVy", "b3RoZXI"):
        assert value not in "".join(a.expected + a.actual for a in timeline.assertions)
        assert value not in str(failed.value)


def test_what_is_long_is_shortened_on_the_timeline() -> None:
    long = {**POD, "metadata": {"name": "x" * 10_000}}
    timeline, pod = answered(long)

    expect(pod.metadata.name) == "x" * 10_000

    assert len(timeline.assertions[0].actual) == 300
