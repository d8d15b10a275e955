"""Applications of a test: a home of its own, and one that runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cove import App


@pytest.fixture(autouse=True)
def cove_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``$COVE_HOME`` that nobody else uses."""
    home = tmp_path / "home"
    monkeypatch.setenv("COVE_HOME", str(home))
    monkeypatch.delenv("COVE_ENGINE", raising=False)
    return home


@pytest.fixture
def app(tmp_path: Path) -> App:
    """An application that declares nothing yet, in a folder of its own."""
    return App("shop", root=tmp_path)


@pytest.fixture
def python() -> str:
    """The Python that runs the tests."""
    return sys.executable
