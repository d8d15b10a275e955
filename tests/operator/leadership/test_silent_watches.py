"""A watch that dies without a word is noticed, and another opened where it was."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from replicas import Time
from tests.elsewhere import serving
from tests.operator.runtime.operator_world import Cache, define, operating

from cove.client import Client, Informer, kubeconfig
from cove.client._http import _socket
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.operator import Operator, Settings

CONFIG_MAPS = GVR("", "v1", "configmaps")


async def eventually(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0)


async def test_a_silent_watch_is_opened_again(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    informer = Informer(
        api.client, CONFIG_MAPS, namespace="default", clock=time.clock(), watch_timeout=60
    )
    with api.faults.stall_watches(resources="configmaps") as fault:
        async with informer:
            await eventually(lambda: informer.watches == 1)
            await api.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
            await time.pass_by(60)
            assert len(informer) == 0, "nobody has told"
            fault.count = fault.hits
            await time.pass_by(90)
            await eventually(lambda: informer.get("default", "a") is not None)
            assert informer.watches == 2
            assert informer.events == 1
    assert "another is opened" in caplog.text


async def test_a_watch_that_is_never_answered_is_asked_for_again(api: EmbeddedCluster) -> None:
    time = Time()
    informer = Informer(
        api.client, CONFIG_MAPS, namespace="default", clock=time.clock(), watch_timeout=60
    )
    with api.faults.hang(resources="configmaps", verbs="watch", count=1):
        async with informer:
            await eventually(informer.synced.is_set)
            await api.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
            await time.pass_by(151)
            await eventually(lambda: len(informer) == 1)


async def test_a_watch_that_speaks_is_left_alone(api: EmbeddedCluster) -> None:
    time = Time()
    informer = Informer(
        api.client, CONFIG_MAPS, namespace="default", clock=time.clock(), watch_timeout=600
    )
    async with informer:
        await eventually(lambda: informer.watches == 1)
        for n in range(5):
            await time.pass_by(60, 10)
            await api.client.create(CONFIG_MAPS, {"metadata": {"name": f"c{n}"}}, "default")
            await eventually(lambda: len(informer) == n + 1)  # noqa: B023
        assert informer.watches == 1


async def test_an_operator_asks_for_watches_as_long_as_its_settings_say(
    api: EmbeddedCluster,
) -> None:
    time = Time()
    op = Operator("cache-operator", Settings(watch_timeout=20))
    seen: list[int] = []

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        seen.append(cache.spec.size)

    await define(api.client, Cache)
    with api.faults.stall_watches(resources="caches.cache.example.com") as fault:
        async with operating(api, op, clock=time.clock()) as world:
            (informer,) = world.runtime.controllers[0].store.informers
            await eventually(lambda: informer.watches == 1)
            await world.make()
            fault.count = fault.hits
            await time.pass_by(71)
            await world.until(lambda: seen == [1])


async def test_connections_ask_now_and_then_whether_the_server_is_there() -> None:
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    with _socket(address) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getblocking() is False
    async with serving(nodes=0, controllers=False) as cluster:
        connection = kubeconfig.load(cluster.kubeconfig_path)
        async with Client.connect(connection) as client:
            assert (await client.version())["major"] == "1"
