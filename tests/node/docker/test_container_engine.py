"""What the connection to a container engine promises."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from docker_world import IMAGE

from cove.node.docker.connection import Engine
from cove.node.docker.engine import EngineAddress


@pytest.mark.requires("docker")
async def test_who_is_not_the_only_one_to_remove_a_container_waits_for_its_end(
    engine: Engine,
) -> None:
    for _ in range(3):
        id = await engine.create("cove-test-removed-twice", {"Image": IMAGE, "Cmd": ["sleep", "9"]})
        await engine.start(id)

        async def removed(id: str = id) -> object:
            await engine.remove(id)
            return await engine.inspect(id)

        assert await asyncio.gather(*(removed() for _ in range(6))) == [None] * 6


async def test_a_container_that_ends_while_it_is_measured_uses_nothing(tmp_path: Path) -> None:
    """Docker begins an answer then and says nothing in it."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/stats"):
            return web.Response(content_type="application/json")
        return web.json_response({"ApiVersion": "1.41"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(tmp_path / "engine")).start()
        async with Engine(EngineAddress(f"unix://{tmp_path / 'engine'}", "a test")) as engine:
            assert await engine.stats("0123456789ab") is None
    finally:
        await runner.cleanup()
