"""The ``cove`` command over a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Cove


@pytest.fixture
def cove(tmp_path: Path) -> Iterator[Cove]:
    """The command; whatever it started is ended with the test."""
    command = Cove(tmp_path / "home")
    yield command
    folders = command.home / "clusters"
    for folder in folders.iterdir() if folders.is_dir() else ():
        command.attempt("reset", "--yes", "--name", folder.name)
