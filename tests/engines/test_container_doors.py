"""Containers of this machine reach a cluster of this machine, and verify it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from command import Cove
from containers_world import docker, kubectl_inside, network

from cove.engines.cluster import Cluster, ClusterOptions
from cove.engines.door import DoorError, Relay
from cove.engines.home import ClusterFolder
from cove.engines.select import open_cluster
from cove.node.docker.connection import Engine

Open = Callable[..., Cluster]
# Pods would run, too: what is beside them takes its time.
QUICK: dict[str, Any] = {"container_engine": "docker", "disable": ("ingress", "registry")}


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with docker() as found:
        yield found


@pytest.fixture
async def net(engine: Engine) -> AsyncIterator[str]:
    async with network(engine, f"cove-test-door-{os.getpid()}") as name:
        yield name


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def start(cove: Cove, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Open:
    monkeypatch.setenv("COVE_HOME", str(cove.home))
    monkeypatch.delenv("COVE_ENGINE", raising=False)

    def make(**options: Any) -> Cluster:
        return open_cluster("shop", ClusterOptions(**options), log=said.append)

    return make


@pytest.mark.requires("docker", "kubectl")
async def test_a_container_reaches_a_session_and_verifies_it(
    start: Open, engine: Engine, net: str
) -> None:
    async with start(**QUICK) as cluster:
        folder = await cluster.container_kubeconfig(net)
        again = await cluster.container_kubeconfig(net)
        code, out = await kubectl_inside(engine, folder, net, "get", "nodes", "-o", "name")

        assert again == folder
        assert [p.name for p in folder.iterdir()] == ["kubeconfig.yaml"]
        doc = yaml.safe_load((folder / "kubeconfig.yaml").read_text())
        entry = doc["clusters"][0]["cluster"]
        assert entry["server"].startswith("https://host.docker.internal:")
        assert set(entry) == {"server", "certificate-authority-data"}
        assert (code, len(out.split())) == (0, 1), out


@pytest.mark.requires("docker", "kubectl")
async def test_a_container_reaches_a_persistent_cluster_after_the_session(
    start: Open, engine: Engine, net: str, said: list[str]
) -> None:
    async with start(lifetime="persistent", **QUICK) as cluster:
        folder = await cluster.container_kubeconfig(net)

    code, out = await kubectl_inside(engine, folder, net, "get", "nodes", "-o", "name")

    assert (code, len(out.split())) == (0, 1), out
    assert not any("as long as this session lasts" in line for line in said)


@pytest.mark.requires("docker", "kubectl")
async def test_a_cluster_that_was_started_without_a_door_gets_one_from_the_session(
    start: Open, cove: Cove, engine: Engine, net: str, said: list[str]
) -> None:
    cove("up", "--name", "shop")
    async with start(lifetime="persistent") as cluster:
        cluster.options = replace(cluster.options, container_engine="docker")  # type: ignore[attr-defined]
        folder = await cluster.container_kubeconfig(net)
        code, out = await kubectl_inside(engine, folder, net, "get", "nodes", "-o", "name")

    assert (code, len(out.split())) == (0, 1), out
    assert any("as long as this session lasts" in line for line in said)
    assert ClusterFolder("shop").door is None


# -- the relay


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1024):
        writer.write(piece)
        await writer.drain()
    writer.write(b"end")
    writer.close()
    await writer.wait_closed()


async def test_a_relay_carries_both_ways_and_says_when_a_side_has_ended() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, Relay("127.0.0.1", server.sockets[0].getsockname()) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x" * 300_000)
        writer.write_eof()
        data = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()

    assert data == b"x" * 300_000 + b"end"


async def test_a_relay_that_is_left_has_no_listener_and_no_connection() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    before = len(asyncio.all_tasks())
    async with server:
        async with Relay("127.0.0.1", server.sockets[0].getsockname()) as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass  # said less politely
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", relay.port)
        writer.close()

    assert len(asyncio.all_tasks()) == before


async def test_a_target_that_is_gone_ends_the_connection_and_not_the_relay() -> None:
    gone = await asyncio.start_server(_echo, "127.0.0.1", 0)
    address = gone.sockets[0].getsockname()
    gone.close()
    await gone.wait_closed()
    async with Relay("127.0.0.1", address) as relay:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            try:
                assert await asyncio.wait_for(reader.read(), 10) == b""
            except ConnectionResetError:
                pass
            writer.close()


async def test_an_address_that_is_not_this_machines_is_told() -> None:
    with pytest.raises(DoorError, match=r"192\.0\.2\.99, which containers call .* runs elsewhere"):
        async with Relay("192.0.2.99", ("127.0.0.1", 1)):
            pass
