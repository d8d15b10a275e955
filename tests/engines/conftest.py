"""The ``cove`` command over a home of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from command import Cove
from k3s_world import Open, opener, standin_engine

from cove.node.docker.connection import Engine


@pytest.fixture
def cove(tmp_path: Path) -> Iterator[Cove]:
    """The command; whatever it started is ended with the test."""
    command = Cove(tmp_path / "home")
    yield command
    folders = command.home / "clusters"
    for folder in folders.iterdir() if folders.is_dir() else ():
        command.attempt("reset", "--yes", "--name", folder.name)


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """Docker, with the stand-in for k3s; see standin.py."""
    async with standin_engine(monkeypatch) as found:
        yield found


@pytest.fixture
def said() -> list[str]:
    """What a cluster has told."""
    return []


@pytest.fixture
async def start(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> AsyncIterator[Open]:
    """``start(behind, **options)``: a k3s cluster of the stand-in's image."""
    async with opener(engine, tmp_path / "home", monkeypatch, said) as make:
        yield make
