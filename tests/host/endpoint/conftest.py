"""A cluster whose pods are listeners of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from forward_world import World
from tests.elsewhere import serving

from cove.client import Client, kubeconfig


@pytest.fixture
async def forwards() -> AsyncIterator[World]:
    """A server without controllers; port 8080 of every pod of the node "real" echoes."""
    before = asyncio.all_tasks()
    writers: set[asyncio.StreamWriter] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writers.discard(writer)
            writer.close()

    listening = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
    async with (
        serving(
            nodes=0,
            controllers=False,
            disable_admission=["ServiceAccount"],
            listeners={8080: listening.sockets[0].getsockname()[1]},
        ) as cluster,
        Client.connect(kubeconfig.load(cluster.kubeconfig_path)) as client,
    ):
        yield World(cluster, client)
    listening.close()
    async with asyncio.timeout(30):
        while asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.sleep(0.01)
