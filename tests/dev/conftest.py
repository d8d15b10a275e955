"""Loops of tests: a home of their own, and a cluster that the tests of a module share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dev_world import Project, make_base
from tests.elsewhere import ELSEWHERE, choose_engine, served

from cove.dev.down import down
from cove.dev.session import Options, Session


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``$COVE_HOME`` that nobody else uses."""
    home = tmp_path / "home"
    monkeypatch.setenv("COVE_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def nothing_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a session exports ends with its test."""
    for name in ("DOCKER_HOST", "COVE_ENGINE", "COVE_DEV_REGISTRY", "DOCKER_BUILDKIT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    choose_engine(monkeypatch)


@pytest.fixture(scope="module")
def there() -> Iterator[dict[str, str]]:
    """What leads to a cluster elsewhere whose pods run, and which has a registry; else nothing."""
    if not ELSEWHERE:
        yield {}
        return
    with served(name="devtests", container_engine="docker", registry=True) as config:
        yield {"KUBECONFIG": str(config), "COVE_ENGINE": "existing"}


@pytest.fixture(scope="module")
def cluster_home(tmp_path_factory: pytest.TempPathFactory, there: dict[str, str]) -> Iterator[Path]:
    """A home with a cluster that is up; everything is gone afterwards."""
    home = tmp_path_factory.mktemp("dev") / "home"
    chosen = {"COVE_HOME": str(home), "COVE_CONTAINER_ENGINE": "docker", **there}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    said: list[str] = []

    async def start() -> None:
        await make_base()
        project = Project(home.parent / "first", "first")
        async with Session(project.plan(), Options(), say=lambda n, t: said.append(t)):
            pass

    try:
        asyncio.run(start())
        yield home
        os.environ.update(chosen)
        assert asyncio.run(down("devtests", say=lambda name, text: None))
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def project(
    cluster_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Project:
    """A project of the test's own, for the module's cluster."""
    monkeypatch.setenv("COVE_HOME", str(cluster_home))
    monkeypatch.setenv("COVE_CONTAINER_ENGINE", "docker")
    name = f"p{abs(hash(request.node.name)) % 10**8}"
    return Project(tmp_path / "project", name)
