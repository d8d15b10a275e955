"""The examples run as a new user runs them, and do what they say; nothing is left."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.elsewhere import ELSEWHERE

from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COVE = str(Path(sys.executable).with_name("cove"))
pytestmark = pytest.mark.requires("helm", "kubectl")


async def cove(*arguments: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        COVE, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"cove {arguments}: {err.decode()}"
    return out.decode()


async def urls() -> dict[str, str]:
    name = "shop" if (await cove("status")).find("shop") >= 0 else "small"
    return {
        r["name"]: r["url"] for r in json.loads(await cove("status", "--app", name, "-o", "json"))
    }


async def fetch(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


@pytest.fixture
async def examples(tmp_path: Path) -> AsyncIterator[Path]:
    """A copy of the examples; what is started of them ends with the test."""
    copy = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copy)
    yield copy
    for name in ("small", "shop"):
        process = await asyncio.create_subprocess_exec(
            COVE, "down", name, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await process.wait()


async def test_small(examples: Path) -> None:
    await cove("up", examples / "small/app.py", "--detach")
    found = await urls()
    text = await fetch(found["api"])
    assert text.count("is Running") == 2
    assert f"{found['page']} does not answer" in text, "pods are simulated"


async def test_full_with_simulated_pods(examples: Path) -> None:
    await cove("up", examples / "full", "--detach")
    found = await urls()
    assert json.loads(await fetch(f"{found['api']}/offers")) == {"coffee": 9, "tea": 12}
    await cove("start", "report")
    await cove("wait", "report", "--status", "completed")
    assert await cove("logs", "report") == "report | coffee costs 9\nreport | tea costs 12\n"


@pytest.mark.requires("docker", "root")
async def test_full_with_pods_that_run(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVE_CONTAINER_ENGINE")
    monkeypatch.setenv("SHOP_PODS", "containers")
    await cove("up", examples / "full", "--detach")
    found = await urls()
    pages = await fetch(f"{found['api']}/pages")
    assert "shop: <p>Welcome from web-" in pages
    assert "store: <p>kept, for now from cache-" in pages
    await cove("wait", "probe", "--status", "completed")
    probe = await cove("logs", "probe")
    assert "server: https://host.docker.internal:" in probe
    assert "<p>Welcome from web-" in probe
    await cove("down", "shop")
    if ELSEWHERE:
        return  # what was deployed stays there, and runs as long as the cluster does
    address = find_engine("docker")
    assert address is not None
    async with Engine(address) as engine:
        assert await engine.containers({"dev.cove.app": "shop"}) == []
        assert [n for n in await engine.networks() if n["Name"].startswith("cove-shop")] == []
        await engine.docker.images.delete("cove.dev/shop:dev", force=True)


async def test_full_deploys_elsewhere_with_what_export_writes(
    examples: Path, tmp_path: Path
) -> None:
    await cove("export", examples / "full", "--to", tmp_path / "out")
    script = (tmp_path / "out/k8s/deploy.sh").read_text().splitlines()
    steps = [line.split()[0] for line in script if line.split()[:1] in (["kubectl"], ["helm"])]
    assert steps.count("helm") == 1
    assert steps.index("kubectl") == 0
    values = (tmp_path / "out/k8s/cache.values.yaml").read_text()
    assert 'greeting: "kept, for now"' in values
