"""A failure on a terminal fits one screen and says by what, from where, and what was before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.report.report_world import POD, Writer, failing, hostile, passing

from cove.testing.report import failure
from cove.testing.timeline import Assertion, Timeline


def test_a_failure_says_what_where_from_and_what_happened() -> None:
    lines = failure(failing())

    assert lines[0] == "expected status.phase == 'Running', but it is 'Pending'"
    assert "report_world.py:" in lines[1]
    assert lines[2] == "from GET pods/web in shop → 200, 200 ms, at +470 ms"
    assert lines[3:5] == ["    status:", "      phase: Pending"]
    text = "\n".join(lines)
    assert "  +28 ms    GET deployments/api in shop → 404 deployments.apps" in text
    assert "PATCH pods/web in shop → 200, 4 ms (kubectl)" in text
    assert "web   Pending   ImagePullBackOff" in text
    assert "Error: ErrImagePull" in text
    assert lines[-1].startswith("kept: export KUBECONFIG=")


def test_the_last_calls_before_it_are_shown_not_all() -> None:
    w = Writer("test")
    for n in range(30):
        w.call("get", "pods", f"web-{n}", response=POD)
    last = w.timeline.calls[-1]
    made = Assertion(99, w.timeline.now(), last.id, "status.phase", "==", "'x'", "'y'", False)
    w.timeline.add(made)
    w.clock.now += 1
    later = w.call("get", "pods", "later")

    text = "\n".join(failure(w.end("failed")))

    shown = [f"web-{n} " in text for n in range(29)]
    assert shown == [False] * 21 + [True] * 8
    assert later.name not in text


def test_without_a_recorded_assertion_the_last_calls_are_told() -> None:
    w = Writer("test")
    w.call("get", "pods", "web", status=0, error="connection refused")

    assert failure(w.end("error", "E   RuntimeError")) == [
        "last calls:",
        "  +0 µs     GET pods/web in shop → no answer connection refused, 4 ms",
    ]


def test_where_nothing_was_asked_there_is_nothing_to_tell() -> None:
    assert failure(Writer("test").end("failed", "E   ValueError")) == []


def test_what_was_tried_in_vain_is_no_failure_of_a_test_that_passed() -> None:
    timeline = passing()
    timeline.add(Assertion(99, 0.0, 1, "status", "==", "1", "2", False))

    assert not any(line.startswith("expected") for line in failure(timeline))


def test_values_of_secrets_are_no_excerpt() -> None:
    w = Writer("test")
    secret = {"kind": "Secret", "data": {"password": "aHVudGVy", "user": "x"}}
    call = w.call("get", "secrets", "db", response=secret)
    w.timeline.add(Assertion(99, 1.0, call.id, "data.password", "==", "…", "…", False))

    assert "aHVudGVy" not in "\n".join(failure(w.end("failed")))


@pytest.mark.parametrize(
    ("path", "excerpt"),
    [
        ('metadata.labels["app.kubernetes.io/name"]', ["metadata.labels:", "  app.kubernetes.io/name: a"]),
        ("items[1].name", ["items.1:", "  name: b"]),
        ("spec", ["spec:"]),
        ("nothing.there", []),
        ("", []),
    ],
)  # fmt: skip
def test_the_excerpt_is_what_stands_around_the_value(path: str, excerpt: list[str]) -> None:
    w = Writer("test")
    document: dict[str, Any] = {
        "metadata": {"labels": {"app.kubernetes.io/name": "a"}},
        "items": [{"name": "a"}, {"name": "b"}],
        "spec": {"replicas": 2},
    }
    call = w.call("get", "pods", "web", response=document)
    w.timeline.add(Assertion(99, 1.0, call.id, path, "==", "'x'", "'y'", False))

    lines = [line[4:] for line in failure(w.end("failed")) if line.startswith("    ")]

    assert lines[: len(excerpt)] == excerpt


TEXT = st.text(max_size=300)


@given(
    calls=st.lists(st.tuples(TEXT, TEXT), max_size=20),
    notes=st.lists(st.tuples(st.sampled_from(["pods", "event", "pod-log"]), TEXT), max_size=9),
    said=st.none() | st.tuples(TEXT, TEXT, TEXT),
    kept=TEXT,
)
def test_it_fits_one_screen_whatever_was_recorded(
    calls: list[tuple[str, str]],
    notes: list[tuple[str, str]],
    said: tuple[str, str, str] | None,
    kept: str,
) -> None:
    w = Writer("test")
    for name, error in calls:
        w.call("get", "pods", name, error=error, response=copy.deepcopy(POD))
    for kind, text in notes:
        w.note(kind, text, "\n".join([text] * 20))
    if said is not None:
        link = w.timeline.calls[0].id if calls else 0
        path = "status.phase"
        w.timeline.add(
            Assertion(999, w.timeline.now(), link, path, "==", *said[:2], False, said[2])
        )
    w.timeline.kept = kept

    lines = failure(w.end("failed"))

    assert len(lines) <= 24
    assert all(len(line) <= 100 and len(line.splitlines()) <= 1 for line in lines)


def test_hostile_texts_stay_texts() -> None:
    timeline: Timeline = hostile()
    timeline.name = "\x1b[2J"
    timeline.calls[0].name = "\x1b[2Jgone"

    assert not any("\x1b" in line for line in failure(timeline))
