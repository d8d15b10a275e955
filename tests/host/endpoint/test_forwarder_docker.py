"""Endpoints of pods that run in the Docker of this machine."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from forward_world import PODS, SERVICES, Told, exchange, is_free
from tests.elsewhere import serving
from tests.node.docker.docker_world import IMAGE, make_image

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.host.endpoint import Forwarder
from cove.kube.gvk import GVR
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

pytestmark = pytest.mark.requires("docker")

DEPLOYMENTS = GVR("apps", "v1", "deployments")
PATIENCE = 60
PAGE = "mkdir /tmp/w; echo page of {version} > /tmp/w/index.html; httpd -f -p 8080 -h /tmp/w"
# A listener that starts a cat for each connection.
ECHO = "nc -ll -p 8080 -e cat"


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
async def running(engine: Engine) -> AsyncIterator[EmbeddedCluster]:
    """A cluster whose pods run, with the service web: 80 leads to their 8080."""
    async with serving(container_engine="docker") as cluster:
        ports = [{"port": 80, "targetPort": "http"}]
        await cluster.client.create(
            SERVICES,
            {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}},
            "default",
        )
        yield cluster


@pytest.fixture
async def client(running: EmbeddedCluster) -> AsyncIterator[Client]:
    """A client over HTTPS."""
    async with Client.connect(kubeconfig.load(running.kubeconfig_path)) as made:
        yield made


def _template(script: str) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", script],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


async def deploy(client: Client, script: str) -> None:
    """A Deployment of one pod that runs a script."""
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": _template(script),
    }
    await client.apply(
        DEPLOYMENTS,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": spec,
        },
        field_manager="tests",
    )


async def page(port: int) -> bytes:
    """What the pod's web server answers."""
    answer = await exchange(port, b"GET / HTTP/1.0\r\n\r\n")
    return answer.rpartition(b"\r\n\r\n")[2]


async def test_a_rollout_is_followed(client: Client) -> None:
    """The next connection reaches the new pod; the port stays."""
    told = Told()
    async with Forwarder(client, "web", 80, on_change=told) as web, asyncio.timeout(PATIENCE):
        await told.reason("no pod has the labels")
        await deploy(client, PAGE.format(version="one"))
        first = await told.phase("ready")
        assert first.target_port == 8080
        assert await page(web.port) == b"page of one\n"

        await deploy(client, PAGE.format(version="two"))
        second = await told.until(lambda s: s.phase == "ready" and s.pod != first.pod)

        assert await page(web.port) == b"page of two\n"
        assert second.url == first.url


async def test_a_pod_that_is_deleted_is_replaced(client: Client) -> None:
    told = Told()
    async with Forwarder(client, "web", 80, on_change=told) as web, asyncio.timeout(PATIENCE):
        await deploy(client, PAGE.format(version="one"))
        first = await told.phase("ready")
        await client.delete(PODS, first.pod, "default", grace=0)
        await told.until(lambda s: s.phase == "ready" and s.pod != first.pod)
        assert await page(web.port) == b"page of one\n"


async def test_a_large_transfer_is_whole_there_and_back(client: Client) -> None:
    data = os.urandom(30 << 20)
    await deploy(client, ECHO)
    async with Forwarder(client, "web", 80) as web, asyncio.timeout(PATIENCE):
        await web.wait_ready()
        back = await exchange(web.port, data)
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


async def test_a_thousand_connections_to_one_pod(client: Client) -> None:
    """All open at once.  They are opened a few at a time: busybox listens with a backlog of ten
    and resets what comes on top, with or without an endpoint between."""
    await deploy(client, ECHO)
    few = asyncio.Semaphore(8)
    async with Forwarder(client, "web", 80) as web, asyncio.timeout(2 * PATIENCE):
        await web.wait_ready()

        async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            async with few:
                reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                return reader, writer

        async def talk(n: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sent = f"connection {n} ".encode() * 50
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent

        ends = await asyncio.gather(*(opened() for _ in range(1000)))
        assert web.connections == 1000
        await asyncio.gather(*(talk(n, *end) for n, end in enumerate(ends)))
        for _, writer in ends:
            writer.close()


async def test_leaving_ends_the_connections_in_the_pod(client: Client) -> None:
    """The cat that serves a connection sees its end."""
    script = "echo 'cat; touch /tmp/ended' > /tmp/s; chmod 755 /tmp/s; nc -ll -p 8080 -e sh /tmp/s"
    await deploy(client, script)
    async with asyncio.timeout(PATIENCE):
        async with Forwarder(client, "web", 80) as web:
            await web.wait_ready()
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
        assert is_free(web.port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        async with Forwarder(client, "web", 80) as web:
            await web.wait_ready()


async def test_a_container_reaches_it_by_its_container_url(client: Client, engine: Engine) -> None:
    """On the bridge's address, which ``host-gateway`` is."""
    gateway = _gateway(await engine.networks())
    await deploy(client, PAGE.format(version="one"))
    hosts = ("127.0.0.1", gateway)
    async with Forwarder(client, "web", 80, hosts=hosts) as web, asyncio.timeout(PATIENCE):
        await web.wait_ready()
        script = f"wget -q -O - {web.container_url}/"
        made = await engine.create(
            f"cove-test-endpoint-{os.getpid()}",
            {
                "Image": IMAGE,
                "Cmd": ["sh", "-c", script],
                "HostConfig": {"ExtraHosts": ["host.docker.internal:host-gateway"]},
            },
        )
        try:
            await engine.start(made)
            code = await engine.ended(made)
            async with engine.log(made, {"stdout": "1", "stderr": "1"}) as content:
                text = await content.read()
        finally:
            await engine.remove(made)
    assert code == 0, text
    assert b"page of one\n" in text


def _gateway(networks: list[dict[str, Any]]) -> str:
    bridge = next(n for n in networks if n["Name"] == "bridge")
    return str(bridge["IPAM"]["Config"][0]["Gateway"])
