"""kubectl port-forward to what runs, over every protocol it has."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import BIN
from tests.server.streams.local_kubelet import LocalKubelet

from cove.engines.embedded import EmbeddedCluster

pytestmark = pytest.mark.requires("kubectl")

LARGE = 50 * 1024 * 1024


@pytest.fixture(params=["websocket", "spdy"], autouse=True)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which protocol kubectl takes to forward."""
    use = "true" if request.param == "websocket" else "false"
    monkeypatch.setenv("KUBECTL_PORT_FORWARD_WEBSOCKETS", use)
    return str(request.param)


@asynccontextmanager
async def forwarded(real: EmbeddedCluster, port: int) -> AsyncIterator[int]:
    """kubectl forwards to a port of the pod; the port of this machine."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / "kubectl"),
        *("port-forward", "pod/web", f":{port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "KUBECONFIG": str(real.kubeconfig_path)},
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield int(line.split("->")[0].rpartition(":")[2])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture
async def echo(kubelet: LocalKubelet) -> AsyncIterator[None]:
    """Port 80 of the pod sends back what it gets, and then ends as well."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    kubelet.ports[80] = server.sockets[0].getsockname()[1]
    async with server:
        yield


async def exchange(port: int, data: bytes) -> bytes:
    """What comes back for ``data``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    _, back = await asyncio.gather(send(), reader.read(-1))
    writer.close()
    await writer.wait_closed()
    return back


@pytest.mark.usefixtures("echo")
async def test_many_connections_at_once_do_not_mix(real: EmbeddedCluster) -> None:
    async with forwarded(real, 80) as port:
        sent = [f"connection {n} ".encode() * 1000 for n in range(60)]
        assert await asyncio.gather(*(exchange(port, data) for data in sent)) == sent


@pytest.mark.usefixtures("echo")
async def test_a_large_transfer_is_whole_both_ways(real: EmbeddedCluster) -> None:
    """50 MB there and back at once."""
    data = os.urandom(LARGE)
    async with forwarded(real, 80) as port:
        back = await exchange(port, data)
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


@pytest.mark.usefixtures("echo")
async def test_a_client_that_does_not_read_holds_back_only_itself(real: EmbeddedCluster) -> None:
    """One that asks for a lot and reads nothing leaves the others alone."""
    async with forwarded(real, 80) as port:
        _, stuck = await asyncio.open_connection("127.0.0.1", port)
        stuck.write(b"x" * 1000)
        assert await exchange(port, b"other") == b"other"
        stuck.close()


async def test_the_pods_end_closing_closes_the_clients(
    real: EmbeddedCluster, kubelet: LocalKubelet
) -> None:
    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    kubelet.ports[80] = server.sockets[0].getsockname()[1]
    async with server, forwarded(real, 80) as port:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read(-1) == b"hello"
            writer.close()


async def test_connections_in_the_pod_end_with_the_client(
    real: EmbeddedCluster, kubelet: LocalKubelet
) -> None:
    open_, closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        open_.set()
        await reader.read(-1)
        closed.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    kubelet.ports[80] = server.sockets[0].getsockname()[1]
    async with server:
        async with forwarded(real, 80) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            await open_.wait()
        await closed.wait()
        writer.close()


async def test_a_port_nobody_listens_on_is_told(
    real: EmbeddedCluster, kubelet: LocalKubelet
) -> None:
    process = await asyncio.create_subprocess_exec(
        str(BIN / "kubectl"),
        *("port-forward", "pod/web", ":81"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": str(real.kubeconfig_path)},
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    port = int(line.split("->")[0].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read(-1) == b""
    writer.close()
    _, err = await process.communicate()
    text = err.decode()
    assert "error forwarding port 81 to pod web, uid " in text
    assert "connect: connection refused" in text
    assert process.returncode == 1
