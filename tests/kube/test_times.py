"""Times, durations and ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.kube import times

LAYOUT = "2006-01-02T15:04:05Z07:00"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024-02-29T01:02:03Z", "2024-02-29T01:02:03Z"),
        ("2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00.999Z", "2024-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_times_are_written_in_utc(text: str, canonical: str | None) -> None:
    assert times.canonical_time(text) == canonical


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x", f'parsing time "x" as "{LAYOUT}": cannot parse "x" as "2006"'),
        ("2024-1-01T00:00:00Z", f'parsing time "2024-1-01T00:00:00Z" as "{LAYOUT}": cannot parse "1-01T00:00:00Z" as "01"'),
        ("2024-13-01T00:00:00Z", 'parsing time "2024-13-01T00:00:00Z": month out of range'),
        ("2023-02-29T00:00:00Z", 'parsing time "2023-02-29T00:00:00Z": day out of range'),
        ("2024-01-01", f'parsing time "2024-01-01" as "{LAYOUT}": cannot parse "" as "T"'),
        ("2024-01-01T00:00:00", f'parsing time "2024-01-01T00:00:00" as "{LAYOUT}": cannot parse "" as "Z07:00"'),
        ("2024-01-01T00:00:00Zx", 'parsing time "2024-01-01T00:00:00Zx": extra text: "x"'),
    ],
)  # fmt: skip
def test_bad_times_are_told_as_go_does(text: str, error: str) -> None:
    with pytest.raises(times.TimeError) as raised:
        times.canonical_time(text)

    assert str(raised.value) == error


def test_a_micro_time_has_six_decimals() -> None:
    assert (
        times.canonical_micro_time("2020-01-01T00:00:00.000001Z") == "2020-01-01T00:00:00.000001Z"
    )
    with pytest.raises(times.TimeError) as raised:
        times.canonical_micro_time("2020-01-01T00:00:00.0Z")

    assert str(raised.value) == (
        'parsing time "2020-01-01T00:00:00.0Z" as "2006-01-02T15:04:05.000000Z07:00": '
        'cannot parse ".0Z" as ".000000"'
    )


@given(st.integers(-(1 << 62), 1 << 62))
def test_durations_read_back(nanoseconds: int) -> None:
    assert times.parse_duration(times.format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("1", 'time: missing unit in duration "1"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("h", 'time: invalid duration "h"'),
    ],
)
def test_bad_durations(text: str, error: str) -> None:
    with pytest.raises(times.TimeError) as raised:
        times.parse_duration(text)

    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-0.5, "0s"), (5, "5s"), (119, "119s"), (200, "3m20s"), (600, "10m"),
        (7200, "120m"), (3 * 3600, "3h"), (3 * 3600 + 60, "3h1m"), (47 * 3600, "47h"),
        (49 * 3600, "2d1h"), (45 * 86400, "45d"), (740 * 86400, "2y10d"), (3650 * 86400, "10y"),
    ],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert times.human_duration(seconds) == text
