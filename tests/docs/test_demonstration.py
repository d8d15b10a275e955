"""`make demo` shows what it promises, and leaves nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.conftest import Done, execute

from cove.node.docker import EngineAddress
from cove.node.docker.connection import Engine

DEMO = Path(__file__).resolve().parent.parent.parent / "demo" / "run.py"


async def demonstrate(tmp_path: Path, **env: str) -> Done:
    return await execute(sys.executable, str(DEMO), TMPDIR=str(tmp_path), **env)


@pytest.mark.requires("kubectl", "helm")
async def test_the_demonstration_without_an_engine(tmp_path: Path) -> None:
    """Everything but pods that run; it says that they do not."""
    done = await demonstrate(tmp_path, COVE_DEMO_ENGINE="none")

    assert done.code == 0, done.out + done.err
    assert "pods are simulated: so it was asked for" in done.out
    assert "3 of 3 deployments are ready" in done.out
    assert '{"coffee": 9, "tea": 12}' in done.out
    assert list(tmp_path.glob("cove-demo-*")) == []


@pytest.mark.requires("kubectl", "helm", "docker", "root", "caddy", "registry")
async def test_the_demonstration_with_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page comes from a pod; afterwards the engine has nothing of it."""
    monkeypatch.delenv("COVE_CONTAINER_ENGINE")

    done = await demonstrate(tmp_path)

    assert done.code == 0, done.out + done.err
    assert "Welcome to the shop: order 2" in done.out
    assert "shop: <p>Welcome from web-" in done.out
    assert list(tmp_path.glob("cove-demo-*")) == []
    async with Engine(EngineAddress("unix:///var/run/docker.sock", "test")) as engine:
        listed = [*await engine.containers({"dev.cove.cluster": ""}), *await engine.networks()]
        assert not [e for e in listed if str(tmp_path) in str(e.get("Labels"))]
        assert await engine.image("cove.dev/demo/api:1") is None
        assert await engine.image("cove.dev/shop:dev") is None
