"""A server with controllers and, where asked for, simulated nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from world import World

from cove.controllers import Manager
from cove.engines.embedded import EmbeddedCluster
from cove.node import SimulatedNodes


@pytest.fixture
async def world(api: EmbeddedCluster) -> AsyncIterator[World]:
    """Controllers and no nodes: pods stay as they are made."""
    async with Manager(api.client):
        yield World(api.client)


@pytest.fixture
async def running(api: EmbeddedCluster) -> AsyncIterator[World]:
    """Controllers and two simulated nodes: pods run."""
    async with Manager(api.client) as manager:
        async with SimulatedNodes(api.client, 2, informers=manager.informers):
            yield World(api.client)
