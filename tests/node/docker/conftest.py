"""A cluster whose pods run in the Docker of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from docker_world import IMAGE, World, make_image

from cove.engines.embedded import embedded
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """The Docker of this machine, with the image."""
    monkeypatch.delenv("COVE_CONTAINER_ENGINE", raising=False)
    address = find_engine("docker")
    assert address is not None
    async with Engine(address) as found:
        if await found.image(IMAGE) is None:
            await make_image(found, IMAGE)
        yield found


@pytest.fixture
async def world(engine: Engine) -> AsyncIterator[World]:
    """A cluster in memory whose pods run; nothing of it is left afterwards."""
    async with embedded(container_engine="docker") as cluster:
        world = World(cluster, engine)
        yield world
        assert cluster.containers is not None
        label = cluster.containers.nodes.driver.cluster_label
    assert await engine.containers({"dev.cove.cluster": label}) == []
    assert await engine.networks({"dev.cove.cluster": label}) == []
