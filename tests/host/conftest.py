"""Applications of a test: a home of its own, and one that runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.elsewhere import ELSEWHERE, choose_engine, forked, served

from cove import App


@pytest.fixture(autouse=True)
def cove_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``$COVE_HOME`` that nobody else uses."""
    home = tmp_path / "home"
    monkeypatch.setenv("COVE_HOME", str(home))
    choose_engine(monkeypatch)
    return home


@pytest.fixture(autouse=True)
def own_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Applications of different tests do not meet, where they find a cluster elsewhere.

    Its pods run for tests that have to do with a container engine.
    """
    if not ELSEWHERE:
        yield
        return
    needs = {name for mark in request.node.iter_markers("requires") for name in mark.args}
    made = served(container_engine="docker") if "docker" in needs else forked(nodes=2)
    with made as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield


@pytest.fixture
def app(tmp_path: Path) -> App:
    """An application that declares nothing yet, in a folder of its own."""
    return App("shop", root=tmp_path)


@pytest.fixture
def python() -> str:
    """The Python that runs the tests."""
    return sys.executable
