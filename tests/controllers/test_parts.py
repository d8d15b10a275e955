"""The algorithms inside controllers: schedules, indexes, subsets, hashes, revisions."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.client import ManualClock
from cove.controllers import CONTROLLERS, Manager
from cove.controllers._cron import CronError, parse
from cove.controllers._expectations import Expectations
from cove.controllers._hash import fnv32a, safe_encode, template_hash
from cove.controllers.deployment import _revisions as rev
from cove.controllers.endpoints import repack
from cove.controllers.job._policy import format_indexes, parse_indexes
from cove.engines.embedded import EmbeddedCluster


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/15 * * * *", "2024-01-01T00:07:30", "2024-01-01T00:15:00"),
        ("0 0 1 1 *", "2024-01-01T00:00:00", "2025-01-01T00:00:00"),
        ("@hourly", "2024-01-01T23:00:00", "2024-01-02T00:00:00"),
        ("30 4 * * mon-fri", "2024-01-05T05:00:00", "2024-01-08T04:30:00"),
        ("0 0 29 feb *", "2024-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 12 13 * 5", "2024-09-01T00:00:00", "2024-09-06T12:00:00"),
        ("5-10/2 0 * * *", "2024-01-01T00:07:00", "2024-01-01T00:09:00"),
        ("@every 90m", "2024-01-01T00:00:00", "2024-01-01T01:30:00"),
    ],
)
def test_the_next_time_of_a_schedule(schedule: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = parse(schedule).next(moment, UTC)
    assert found is not None
    assert found.replace(tzinfo=None).isoformat() == expected


def test_a_schedule_keeps_its_zone() -> None:
    moment = datetime(2024, 7, 1, 0, 0, tzinfo=UTC)
    found = parse("0 9 * * *").next(moment, ZoneInfo("America/New_York"))
    assert found is not None
    assert found.astimezone(UTC).hour == 13


def test_a_schedule_may_never_come() -> None:
    assert parse("0 0 31 feb *").next(datetime(2024, 1, 1, tzinfo=UTC), UTC) is None


@pytest.mark.parametrize(
    "text", ["", "* * * *", "61 * * * *", "*/0 * * * *", "x * * * *", "@every x"]
)
def test_schedules_that_cannot_be_read(text: str) -> None:
    with pytest.raises(CronError):
        parse(text)


@given(st.sets(st.integers(0, 40)))
def test_indexes_survive_being_written(indexes: set[int]) -> None:
    assert parse_indexes(format_indexes(indexes), 50) == indexes


@pytest.mark.parametrize(
    ("indexes", "text"), [({0, 1}, "0,1"), ({0, 1, 2}, "0-2"), ({1, 3, 4, 5, 9}, "1,3-5,9")]
)
def test_runs_of_three_are_joined(indexes: set[int], text: str) -> None:
    assert format_indexes(indexes) == text


def test_ports_with_the_same_addresses_share_a_subset() -> None:
    http, https = (80, "TCP", "http", ""), (443, "TCP", "https", "")
    parts = [(port, True, {"ip": ip}) for ip in ("10.0.0.2", "10.0.0.1") for port in (https, http)]
    assert repack(parts) == [
        {
            "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
            "ports": [
                {"port": 80, "protocol": "TCP", "name": "http"},
                {"port": 443, "protocol": "TCP", "name": "https"},
            ],
        }
    ]


def test_ports_with_other_addresses_do_not() -> None:
    http, https = (80, "TCP", "http", ""), (443, "TCP", "https", "")
    parts = [(http, True, {"ip": "10.0.0.1"}), (https, False, {"ip": "10.0.0.1"})]
    assert [sorted(s) for s in repack(parts)] == [
        ["addresses", "ports"],
        ["notReadyAddresses", "ports"],
    ]


def test_hashes_are_stable() -> None:
    assert fnv32a(b"") == 0x811C9DC5
    assert fnv32a(b"a") == 0xE40C292C
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    assert template_hash(template) == template_hash(dict(reversed(template.items())))
    assert template_hash(template) != template_hash(template, 1)
    assert set(safe_encode("0123456789")) <= set("bcdfghjklmnpqrstvwxz2456789")


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 1, (1, 0)),
        (0, "10%", 3, (0, 1)),
        (0, 0, 3, (0, 1)),
        ("100%", 0, 3, (3, 0)),
    ],
)
def test_the_bounds_of_a_rollout(
    surge: object, unavailable: object, replicas: int, expected: tuple[int, int]
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    deployment = {"spec": {"replicas": replicas, "strategy": strategy}}
    assert (rev.max_surge(deployment), rev.max_unavailable(deployment)) == expected


def test_revisions_leave_a_history() -> None:
    annotations = {rev.REVISION: "1"}
    deployment = {"metadata": {"annotations": {"note": "x", rev.REVISION: "9"}}}
    assert rev.set_annotations(deployment, annotations, 3)
    assert annotations == {
        rev.REVISION: "3",
        "deployment.kubernetes.io/revision-history": "1",
        "note": "x",
    }
    assert not rev.set_annotations(deployment, annotations, 3)


def test_expectations_expire() -> None:
    clock = ManualClock()
    expectations = Expectations(clock)
    expectations.expect("k", adds=2, deletions=["u"])
    expectations.created("k")
    assert not expectations.satisfied("k")
    clock.advance(301)
    assert expectations.satisfied("k")


def test_an_unknown_controller_is_refused(api: EmbeddedCluster) -> None:
    with pytest.raises(ValueError, match="no such controller: nothing"):
        Manager(api.client, controllers=["nothing"])


async def test_every_controller_can_be_run_alone(api: EmbeddedCluster) -> None:
    for name in CONTROLLERS:
        async with Manager(api.client, controllers=[name]) as manager:
            await manager.idle()
