"""exec and port-forward of the official Python client."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.streams.local_kubelet import LocalKubelet

from cove.engines.embedded import EmbeddedCluster

pytest.importorskip("kubernetes")

# The client leaves the closing of its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def core(real: EmbeddedCluster) -> Iterator[Any]:
    """The core API, through the official client."""
    from kubernetes import client, config

    with config.new_client_from_config(str(real.kubeconfig_path)) as made:
        yield client.CoreV1Api(made)
    gc.collect()


async def test_a_commands_output_is_its_result(core: Any, kubelet: LocalKubelet) -> None:
    from kubernetes.stream import stream

    words = ["sh", "-c", "echo out; echo err >&2"]
    found = await asyncio.to_thread(
        stream,
        core.connect_get_namespaced_pod_exec,
        "web",
        "default",
        container="main",
        command=words,
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert sorted(found.split()) == ["err", "out"]


async def test_a_command_is_talked_to_and_its_exit_code_read(
    core: Any, kubelet: LocalKubelet
) -> None:
    from kubernetes.stream import stream

    def talk() -> tuple[str, str, int]:
        shell = stream(
            core.connect_get_namespaced_pod_exec,
            "web",
            "default",
            container="main",
            command=["sh"],
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        shell.write_stdin("echo one\n")
        out = shell.readline_stdout(timeout=30)
        shell.write_stdin("echo two >&2\n")
        err = shell.readline_stderr(timeout=30)
        shell.write_stdin("exit 9\n")
        shell.run_forever(timeout=30)
        return out, err, shell.returncode

    assert await asyncio.to_thread(talk) == ("one", "two", 9)


async def test_a_port_is_forwarded(core: Any, kubelet: LocalKubelet) -> None:
    from kubernetes.stream import portforward

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    kubelet.ports[80] = server.sockets[0].getsockname()[1]

    def talk() -> tuple[bytes, Any]:
        forwarded = portforward(
            core.connect_get_namespaced_pod_portforward, "web", "default", ports="80,81"
        )
        connection = forwarded.socket(80)
        connection.settimeout(30)
        connection.sendall(b"hello\n")
        got = b""
        while data := connection.recv(1024):
            got += data
        connection.close()
        forwarded.socket(81).close()
        return got, forwarded.error(81)

    async with server:
        got, error = await asyncio.to_thread(talk)
    assert got == b"HELLO\n"
    assert "error forwarding port 81" in error
