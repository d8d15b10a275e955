"""A plain ``assert`` on a recorded value is on the timeline of the call that it came from."""

from __future__ import annotations

import importlib.util
import textwrap
import unittest
from pathlib import Path
from typing import Any

import pytest
from tests.testing.values.recorded_world import POD, answered

from cove.testing.timeline import Timeline
from cove.testing.values import explain, settle, wrap

Told = list[tuple[str, str, str, bool]]


def told(timeline: Timeline) -> Told:
    """What is on the timeline, without where."""
    assert all(a.via == "assert" and a.call == 1 for a in timeline.assertions)
    return [(a.path, a.operator, a.expected, a.passed) for a in timeline.assertions]


def test_a_comparison_is_linked_to_its_call() -> None:
    timeline, pod = answered()

    assert pod.status.phase == "Pending"

    (made,) = timeline.assertions
    assert (made.path, made.operator, made.expected, made.actual, made.passed) == (
        "status.phase", "==", "'Pending'", "'Pending'", True,
    )  # fmt: skip
    assert made.where.rpartition(":")[0].endswith("test_plain_asserts.py")
    assert made.source == 'assert pod.status.phase == "Pending"'


def test_one_that_fails_is_recorded_as_failed() -> None:
    timeline, pod = answered()

    with pytest.raises(AssertionError):
        assert pod.status.phase == "Running"

    assert told(timeline) == [("status.phase", "==", "'Running'", False)]


def test_each_comparison_is_recorded_once() -> None:
    timeline, pod = answered()
    port = pod.spec.containers[0].ports[0].container_port

    assert "Pending" == pod.status.phase != "Running"
    assert 79 < port <= 80
    assert pod.spec.host_network == False  # noqa: E712
    assert pod.metadata.uid == None  # noqa: E711

    assert told(timeline) == [
        ("status.phase", "==", "'Pending'", True),
        ("status.phase", "!=", "'Running'", True),
        ("spec.containers[0].ports[0].containerPort", ">", "79", True),
        ("spec.containers[0].ports[0].containerPort", "<=", "80", True),
        ("spec.hostNetwork", "==", "False", True),
        ("metadata.uid", "==", "None", True),
    ]


def test_values_of_different_types_are_different() -> None:
    timeline, pod = answered()

    assert pod.status.phase != 3
    assert pod.spec.containers[0].ports[0].container_port == pytest.approx(80)

    assert [t[1:3] for t in told(timeline)] == [("!=", "3"), ("==", "80 ± 8.0e-05")]


def test_truth_is_recorded_as_it_is_asked_for() -> None:
    timeline, pod = answered()

    assert pod.metadata.labels
    assert not pod.spec.host_network
    assert pod.metadata.name and not pod.metadata.uid  # noqa: PT018
    with pytest.raises(AssertionError):
        assert pod.spec.host_network

    assert told(timeline) == [
        ("metadata.labels", "is", "true", True),
        ("spec.hostNetwork", "is", "false", True),
        ("metadata.name", "is", "true", True),
        ("metadata.uid", "is", "false", True),
        ("spec.hostNetwork", "is", "true", False),
    ]


def test_membership_is_one_comparison() -> None:
    timeline, pod = answered()

    assert pod.status.phase in ("Running", "Pending")
    assert pod.status.phase not in ["Running", "Failed"]
    assert "app" in pod.metadata.labels
    assert "tier" not in pod.metadata.labels
    assert "we" in pod.metadata.name
    for _ in range(2):
        with pytest.raises(AssertionError):
            assert pod.status.phase in ("Running", "Failed")

    assert told(timeline) == [
        ("status.phase", "in", "('Running', 'Pending')", True),
        ("status.phase", "not in", "['Running', 'Failed']", True),
        ("metadata.labels", "contains", "'app'", True),
        ("metadata.labels", "lacks", "'tier'", True),
        ("metadata.name", "contains", "'we'", True),
        *[("status.phase", "in", "('Running', 'Failed')", False)] * 2,
    ]


def test_lengths_and_beginnings_are_comparisons() -> None:
    timeline, pod = answered()
    wanted = 2

    assert len(pod.spec.containers) == 1
    with pytest.raises(AssertionError):
        assert len(pod.spec.containers) >= wanted
    assert pod.metadata.name.startswith("w")
    assert not pod.metadata.name.endswith("x")
    assert pod.metadata.name[:2] == "we"

    assert told(timeline) == [
        ("spec.containers", "len ==", "1", True),
        ("spec.containers", "len >=", "2", False),
        ("metadata.name", "startswith", "'w'", True),
        ("metadata.name", "not endswith", "'x'", True),
        ("metadata.name", "==", "'we'", True),
    ]


def test_documents_are_compared_as_a_whole() -> None:
    timeline, pod = answered()
    for container in pod.spec.containers:
        assert container.ports

    assert pod == POD
    assert pod.metadata == {**POD["metadata"]}

    assert [(t[0], t[1]) for t in told(timeline)][1:] == [("", "=="), ("metadata", "==")]


def test_values_inside_of_plain_containers_are_seen() -> None:
    timeline, pod = answered()

    assert [c.name for c in pod.spec.containers] == ["c"]
    assert (pod.metadata.name, pod.status.phase) == ("web", "Pending")

    assert [(t[0], t[2]) for t in told(timeline)] == [
        ("spec.containers[0].name", "'c'"),
        ("metadata.name", "'web'"),
        ("status.phase", "'Pending'"),
    ]


def test_one_side_of_an_alternative_does_not_fail_by_itself() -> None:
    timeline, pod = answered()

    assert pod.status.phase == "Running" or pod.metadata.name == "web"
    assert any(c.name in ("d", "c") or c.image == "z" for c in pod.spec.containers)
    assert not (pod.status.phase == "Running" or pod.metadata.name == "shop")  # noqa: PT018
    assert not pod.status.phase == "Running"  # noqa: SIM201

    assert told(timeline) == [
        ("metadata.name", "==", "'web'", True),
        ("spec.containers[0].name", "in", "('d', 'c')", True),
        ("status.phase", "!=", "'Running'", True),
        ("metadata.name", "!=", "'shop'", True),
        ("status.phase", "!=", "'Running'", True),
    ]


def test_what_an_assertion_failed_by_is_told_when_it_has() -> None:
    timeline, pod = answered()

    with pytest.raises(AssertionError) as passed_over:
        assert any(c.name == "main" for c in pod.spec.containers)
    assert told(timeline) == []
    settle(timeline, passed_over.value)
    settle(timeline, passed_over.value)

    assert told(timeline) == [("spec.containers[0].name", "==", "'main'", False)]


def test_of_each_one_that_is_not_so_fails() -> None:
    timeline, pod = answered()

    with pytest.raises(AssertionError):
        assert all(c.image == "y" for c in pod.spec.containers)

    assert told(timeline) == [("spec.containers[0].image", "==", "'y'", False)]


def test_what_another_assertion_asked_is_not_blamed() -> None:
    timeline, pod = answered()

    with pytest.raises(AssertionError) as failed:
        assert any(c.name == "d" for c in pod.spec.containers)
    with pytest.raises(AssertionError) as other:
        assert [] == [1]
    settle(timeline, other.value)

    assert told(timeline) == []
    assert failed.value is not other.value


def test_what_is_no_assertion_is_not_recorded() -> None:
    timeline, pod = answered()

    same = pod.status.phase == "Pending"
    chosen = 1 if pod.spec.host_network else 2
    assert {pod.metadata.name: 1}["web"] == 1
    assert len(sorted([pod.metadata.name, "a"])) == 2
    assert same
    assert chosen == 2

    assert told(timeline) == []


def test_unittest_s_methods_are_assertions_too() -> None:
    timeline, pod = answered()
    case = unittest.TestCase()

    case.assertEqual(pod.status.phase, "Pending")  # noqa: PT009
    case.assertNotEqual(pod.status.phase, "Running")  # noqa: PT009
    case.assertIn("app", pod.metadata.labels)  # noqa: PT009
    case.assertNotIn(pod.status.phase, ("Running", "Failed"))  # noqa: PT009
    case.assertFalse(pod.spec.host_network)  # noqa: PT009
    case.assertLess(pod.spec.containers[0].ports[0].container_port, 81)  # noqa: PT009
    with pytest.raises(AssertionError):
        case.assertTrue(pod.spec.host_network)  # noqa: PT009
    with pytest.raises(AssertionError):
        case.assertEqual(pod.status.phase, "Running")  # noqa: PT009

    assert [(t[0], t[1], t[3]) for t in told(timeline)] == [
        ("status.phase", "==", True),
        ("status.phase", "!=", True),
        ("metadata.labels", "contains", True),
        ("status.phase", "not in", True),
        ("spec.hostNetwork", "is", True),
        ("spec.containers[0].ports[0].containerPort", "<", True),
        ("spec.hostNetwork", "is", False),
        ("status.phase", "==", False),
    ]
    assert all("test_plain_asserts.py:" in made.where for made in timeline.assertions)
    assert timeline.assertions[0].source.startswith("case.assertEqual(pod.status.phase")


def test_without_a_link_nothing_is_recorded() -> None:
    pod = wrap(POD, None)

    assert pod.status.phase == "Pending"
    assert pod.metadata.labels


def test_helpers_that_pytest_does_not_rewrite_are_read_as_well(tmp_path: Path) -> None:
    file = tmp_path / "helper_of_a_test.py"
    file.write_text(
        textwrap.dedent(
            """
            def check(pod):
                assert pod.status.phase == "Pending"
                assert not pod.spec.host_network
                assert (
                    pod.metadata.name
                    in ("web", "shop")
                ), "a name"
                assert len(pod.spec.containers) == 1
            """
        )
    )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    timeline, pod = answered()

    module.check(pod)

    assert [(t[0], t[1], t[3]) for t in told(timeline)] == [
        ("status.phase", "==", True),
        ("spec.hostNetwork", "is", True),
        ("metadata.name", "in", True),
        ("spec.containers", "len ==", True),
    ]


def failing(operator: str, left: Any, right: Any) -> list[str]:
    """What the plugin asks when pytest asks it."""
    return explain(operator, left, right)


def test_is_is_explained() -> None:
    _, pod = answered()
    kept = pod.spec.host_network

    (hint, whence) = failing("is", kept, False)

    assert "compare with ==, or use .unwrap()" in hint
    assert whence == "from GET pods/web in default → spec.hostNetwork"
    assert "compare with !=" in failing("is not", None, pod.metadata.uid)[0]
    assert failing("==", 1, 2) == []


def test_what_values_could_not_tell_is_told_when_pytest_asks() -> None:
    timeline, pod = answered()

    lines = failing("==", [pod.metadata.name], [])
    again = failing("==", pod.status.phase, "Running")

    assert lines == ["'web' is from GET pods/web in default → metadata.name"]
    assert again == ["from GET pods/web in default → status.phase"]
    assert [(a.operator, a.passed, a.expected) for a in timeline.assertions] == [
        ("==", False, "[]"),
        ("==", False, "'Running'"),
    ]
