"""A program's connections have ended when its loop has, however they were left."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest
import yaml

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")


async def a_watch(client: Client) -> None:
    """Begun, and left."""
    async with client.watch(CONFIG_MAPS, "default", resource_version="0") as events:
        await anext(events)


async def a_cancelled_watch(client: Client) -> None:
    """Cancelled while nothing happens."""
    begun = asyncio.Event()

    async def watch() -> None:
        async with client.watch(CONFIG_MAPS, "default", resource_version="0") as events:
            async for _ in events:
                begun.set()

    task = asyncio.create_task(watch())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def requests_cut_short(client: Client) -> None:
    """Cancelled at every stage: connecting, shaking hands, waiting for the answer."""
    for turns in range(40):
        task = asyncio.create_task(client.list(CONFIG_MAPS))
        for _ in range(turns):
            # A turn of the loop is what there is to count stages by.
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def requests(client: Client) -> None:
    """Answered, their connections kept."""
    await asyncio.gather(*(client.list(CONFIG_MAPS) for _ in range(5)))


@pytest.mark.parametrize("leave", [a_watch, a_cancelled_watch, requests_cut_short, requests])
async def test_no_socket_outlives_the_loop(leave: Callable[[Client], Awaitable[None]]) -> None:
    async with embedded(nodes=0, controllers=False) as cluster:
        await cluster.client.create(
            CONFIG_MAPS, {"metadata": {"name": "one", "namespace": "default"}}
        )

        left = await asyncio.to_thread(_left, cluster, leave)

    assert left == []


def _left(cluster: EmbeddedCluster, leave: Callable[[Client], Awaitable[None]]) -> list[str]:
    """What Python found unclosed after a program that does this."""

    async def program() -> None:
        connection = kubeconfig.load(yaml.safe_load(cluster.kubeconfig))
        async with Client.connect(connection) as client:
            await leave(client)

    gc.collect()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(program())
        gc.collect()
    return [str(w.message) for w in found if issubclass(w.category, ResourceWarning)]
