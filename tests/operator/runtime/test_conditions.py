"""Conditions: set where they change, with the time of the change."""

from __future__ import annotations

from datetime import UTC, datetime

from operator_world import Cache

from cove.operator import Condition, ObjectMeta, condition, is_true, set_condition

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)


def test_one_is_added_changed_and_left() -> None:
    conditions: list[Condition] = []
    about = Cache(metadata=ObjectMeta(name="a", generation=3))

    assert set_condition(
        conditions, "Ready", False, "Starting", "no pod yet", about=about, now=FIRST
    )
    assert not set_condition(
        conditions, "Ready", False, "Starting", "no pod yet", about=about, now=LATER
    )
    assert set_condition(conditions, "Ready", False, "Starting", "one pod", about=about, now=LATER)
    (ready,) = conditions
    assert ready.last_transition_time == FIRST, "it is as unready as before"
    assert ready.observed_generation == 3
    assert set_condition(conditions, "Ready", True, "Running", about=about, now=LATER)
    (ready,) = conditions
    assert (ready.status, ready.last_transition_time) == ("True", LATER)


def test_they_are_found_by_type() -> None:
    conditions: list[Condition] = []
    set_condition(conditions, "Ready", True, "Running")
    set_condition(conditions, "Degraded", "Unknown", "NotAsked")
    assert is_true(conditions, "Ready")
    assert not is_true(conditions, "Degraded")
    assert not is_true(conditions, "Nothing")
    assert condition(conditions, "Nothing") is None
    assert [c.type for c in conditions] == ["Ready", "Degraded"]
