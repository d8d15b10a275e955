"""Commands, logs and connections into pods, while they are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import Kubectl
from tests.elsewhere import serving
from tests.server.streams.conftest import make_pod
from tests.server.streams.local_kubelet import LocalKubelet

from cove.client import Client, HttpTransport, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.testing.recording import RecordingTransport, ServerTap
from cove.testing.replay import Entry, Recording, RecordingProxy, Writer
from cove.testing.timeline import Timeline

pytestmark = pytest.mark.embedded("its kubelet is the server's, in this process")


@pytest.fixture
async def real() -> AsyncIterator[EmbeddedCluster]:
    """A cluster with a pod whose containers are processes of this machine."""
    async with serving(nodes=0, controllers=False, disable_admission=["ServiceAccount"]) as cluster:
        cluster.api.kubelet = LocalKubelet()
        await make_pod(cluster, "web")
        yield cluster


@asynccontextmanager
async def through_a_proxy(real: EmbeddedCluster, folder: Path) -> AsyncIterator[Path]:
    """A kubeconfig through which all is recorded in ``run.cove``."""
    connection = kubeconfig.load(str(real.kubeconfig_path))
    with Writer(folder / "run.cove") as writer:
        async with (
            HttpTransport(connection, timeout=None) as transport,
            RecordingProxy(transport, writer) as proxy,
        ):
            path = folder / "kubeconfig"
            path.write_text(proxy.kubeconfig)
            yield path


def of(folder: Path, subresource: str) -> list[Entry]:
    entries = Recording.load(folder / "run.cove").entries
    return [entry for entry in entries if entry.asked.subresource == subresource]


@pytest.mark.requires("kubectl")
async def test_commands_run_and_are_noted_without_their_words(
    real: EmbeddedCluster, tmp_path: Path
) -> None:
    async with through_a_proxy(real, tmp_path) as path:
        kubectl = Kubectl(path)
        out = await kubectl("exec", "-i", "web", "-c", "main", "--", "wc", "-c", stdin="12345")
        failed = await kubectl.attempt("exec", "web", "-c", "main", "--", "sh", "-c", "exit 3")
        nobody = await kubectl.attempt("exec", "nobody", "--", "true")

    assert out.strip() == "5"
    assert failed.code == 3
    assert 'pods "nobody" not found' in nobody.err
    entries = of(tmp_path, "exec")
    assert [(entry.status, entry.asked.name) for entry in entries] == [(101, "web"), (101, "web")]
    assert "12345" not in (tmp_path / "run.cove").read_text()


@pytest.mark.requires("kubectl")
async def test_logs_are_recorded(real: EmbeddedCluster, tmp_path: Path) -> None:
    kubelet = real.api.kubelet
    assert isinstance(kubelet, LocalKubelet)
    kubelet.lines = ["one"]
    async with through_a_proxy(real, tmp_path) as path:
        kubectl = Kubectl(path)
        told = await kubectl("logs", "web", "-c", "main")
        following = asyncio.create_task(kubectl("logs", "-f", "web", "-c", "main"))
        await kubelet.following.wait()
        await kubelet.say("two")
        await kubelet.end()
        followed = await following

    assert (told, followed) == ("one\n", "one\ntwo\n")
    whole, streamed = of(tmp_path, "log")
    assert (whole.status, whole.answer) == (200, "one\n")
    assert (streamed.status, streamed.answer, streamed.left) == (200, "one\ntwo\n", False)


async def test_connections_into_pods_go_through(real: EmbeddedCluster, tmp_path: Path) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubelet = real.api.kubelet
    assert isinstance(kubelet, LocalKubelet)
    kubelet.ports[port] = port
    timeline = Timeline("a test")
    async with server, through_a_proxy(real, tmp_path) as path:
        async with Client.connect(kubeconfig.load(str(path))) as client:
            recorded = RecordingTransport(client.transport, timeline).client(client)
            async with recorded.port_forward("web", port) as connection:
                await connection.write(b"hello\n")
                heard = await connection.read()

    assert heard == b"HELLO\n"
    (entry,) = of(tmp_path, "portforward")
    assert (entry.status, entry.error) == (101, "")
    (call,) = timeline.calls
    assert (call.status, call.error, call.name) == (101, "", "web")
    assert call.took is not None


@pytest.mark.requires("kubectl")
async def test_a_tapped_server_tells_of_commands_and_logs(real: EmbeddedCluster) -> None:
    timeline = Timeline("a test")
    kubectl = Kubectl(real.kubeconfig_path)
    with ServerTap(real.api, timeline):
        await kubectl("exec", "web", "-c", "main", "--", "true")
        await kubectl.attempt("logs", "web", "-c", "main")
        # A command's end is the connection's, which the server may notice after kubectl has left.
        await asyncio.gather(*real.api.sessions, return_exceptions=True)

    told = [(c.agent, c.verb, c.subresource, c.status) for c in timeline.calls if c.subresource]
    assert told == [("kubectl", "get", "exec", 101), ("kubectl", "get", "log", 200)]
    assert all(call.took is not None for call in timeline.calls)
