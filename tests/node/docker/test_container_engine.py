"""What the connection to a container engine promises."""

from __future__ import annotations

import asyncio

import pytest
from docker_world import IMAGE

from cove.node.docker.connection import Engine

pytestmark = pytest.mark.requires("docker")


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
