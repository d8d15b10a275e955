"""Projects of users."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import Project


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An empty one, with a COVE_HOME of its own."""
    return Project(tmp_path, tmp_path_factory.mktemp("home"))
