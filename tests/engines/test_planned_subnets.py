"""Subnets of clusters whose pods run: one that is down keeps its own, whatever home it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.engines.home import ClusterFolder, Settings
from cove.engines.subnets import planned, release

pytestmark = pytest.mark.requires("docker")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reservations of this test alone, on a machine with an engine and no routes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("cove.engines.subnets._routes", list)


def folder(tmp_path: Path, home: str) -> ClusterFolder:
    made = ClusterFolder("cove", tmp_path / home)
    made.create()
    return made


def started(place: ClusterFolder) -> Settings:
    settings = planned(Settings(container_engine="docker"), place)
    place.save(settings)
    release(settings)
    return settings


def test_one_that_is_down_keeps_its_subnets(tmp_path: Path) -> None:
    first = folder(tmp_path, "one")
    one, two = started(first), started(folder(tmp_path, "two"))
    assert one.pod_subnet != two.pod_subnet
    assert one.service_subnet != two.service_subnet
    assert planned(one, first) == one


def test_one_that_is_gone_does_not(tmp_path: Path) -> None:
    first = folder(tmp_path, "one")
    one = started(first)
    first.remove()
    assert started(folder(tmp_path, "two")) == one
