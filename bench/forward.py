"""Endpoints beside kubectl port-forward: the same pod, the same stream, each in a process of its own.

Both are measured in turn, so that what else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.pods import IMAGE, cpu, make_image
from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

__all__ = ["forward"]

PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
NAME = "bench-forward"
SOURCE, SINK, WEB = 9000, 9001, 9002
SIZE = 200 << 20
REQUESTS = 200
# A web server that 200 connections at once are nothing for: busybox' listens with a backlog of
# nine, and what is measured is how often the kernel tries again.
CADDY = Path(sysconfig.get_path("scripts")) / "caddy"
# Of a pod that ends its own side first kubectl drops the connection: nc is never out of input.
SCRIPT = f"""
HOME=/ /caddy respond --listen :{WEB} hello &
while :; do head -c {SIZE} /dev/zero | nc -l -p {SOURCE}; done &
mkfifo /open; exec 3<>/open
while :; do nc -l -p {SINK} <&3 >/dev/null; done &
wait
"""


def _pod() -> dict[str, Any]:
    one = {
        "name": "c",
        "image": IMAGE,
        "command": ["sh", "-c", SCRIPT],
        "volumeMounts": [{"name": "caddy", "mountPath": "/caddy"}],
    }
    caddy = {"name": "caddy", "hostPath": {"path": str(CADDY), "type": "File"}}
    return {
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {"containers": [one], "volumes": [caddy], "terminationGracePeriodSeconds": 0},
    }


def _service() -> dict[str, Any]:
    ports = [{"name": f"p{p}", "port": p, "targetPort": p} for p in (SOURCE, SINK, WEB)]
    return {"metadata": {"name": NAME}, "spec": {"selector": {"app": NAME}, "ports": ports}}


# -- the two that are compared


@asynccontextmanager
async def _running(command: list[str]) -> AsyncIterator[tuple[int, int]]:
    """(port, pid) of a program whose first line ends in, or tells, the port."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield int(line.split("->")[0].rpartition(":")[2]), process.pid
    finally:
        process.kill()
        await process.wait()


def _commands(config: str) -> dict[str, Callable[[int], list[str]]]:
    ours = [sys.executable, "-m", "bench.forward", config]
    return {
        "kubectl": lambda port: [
            *(str(KUBECTL), "--kubeconfig", config, "port-forward", f"pod/{NAME}", f":{port}")
        ],
        "endpoint": lambda port: [*ours, str(port), "uvloop"],
        "endpoint, asyncio's loop": lambda port: [*ours, str(port), "asyncio"],
    }


async def _endpoint(config: str, port: int) -> None:
    """A forwarder, as a program of its own."""
    from cove.host.endpoint import Forwarder

    async with (
        Client.connect(kubeconfig.load(config)) as client,
        Forwarder(client, NAME, port) as forwarder,
    ):
        await forwarder.wait_ready()
        print(f"127.0.0.1:{forwarder.port}", flush=True)
        await asyncio.Event().wait()


# -- what is measured


async def _download(port: int) -> float:
    """MB/s of what the pod has to say."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    size = 0
    while data := await reader.read(1 << 20):
        size += len(data)
    writer.close()
    assert size == SIZE, size
    return size / (time.perf_counter() - begun) / 1e6


async def _upload(port: int) -> float:
    """MB/s of what the pod takes, until it closes."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    piece = bytes(1 << 20)
    for _ in range(SIZE // len(piece)):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    await reader.read()
    writer.close()
    return SIZE / (time.perf_counter() - begun) / 1e6


async def _requests(port: int) -> float:
    """Requests per second, all at once, each on a connection of its own."""

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.endswith(b"hello"), answer

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(REQUESTS)))
    return REQUESTS / (time.perf_counter() - begun)


async def _once_more(port: int) -> float:
    """The same, of one that has been used before."""
    await _requests(port)
    return await _requests(port)


MEASURES: tuple[tuple[str, int, str, Callable[[int], Awaitable[float]]], ...] = (
    ("from the pod, MB/s", SOURCE, "MB/s", _download),
    ("to the pod, MB/s", SINK, "MB/s", _upload),
    (f"{REQUESTS} requests at once", WEB, "/s", _requests),
    (f"{REQUESTS} requests at once, once more", WEB, "/s", _once_more),
)


async def forward(config: str, rounds: int = 5) -> None:
    """Print the rows; ``config`` is that of a cluster whose pods run in Docker."""
    address = find_engine("docker")
    assert address is not None
    async with (
        Engine(address) as engine,
        Client.connect(kubeconfig.load(config)) as client,
    ):
        await make_image(engine)
        await client.create(SERVICES, _service(), "default")
        await client.create(PODS, _pod(), "default")
        async with client.watch(PODS, "default", field_selector=f"metadata.name={NAME}") as events:
            async for event in events:
                if event.object.get("status", {}).get("phase") == "Running":
                    break
        await asyncio.sleep(1)
        for title, port, unit, measure in MEASURES:
            found: dict[str, list[float]] = {}
            costs: dict[str, list[float]] = {}
            for number in range(rounds + 1):
                for name, command in _commands(config).items():
                    async with _running(command(port)) as (local, pid):
                        before = cpu(pid)
                        value = await measure(local)
                        spent = cpu(pid) - before
                    if number:
                        # The first round is not counted.
                        found.setdefault(name, []).append(value)
                        costs.setdefault(name, []).append(spent)
                    await asyncio.sleep(0.3)  # nc listens again
            base = statistics.median(found["kubectl"])
            for name, values in found.items():
                middle = statistics.median(values)
                goal = "   goal ≥ 100 %" if name == "endpoint" else ""
                print(
                    f"{title + ', ' + name:<62}{middle:8.0f} {unit:<5}"
                    f"({min(values):.0f}–{max(values):.0f}){100 * middle / base:6.0f} %"
                    f"  cpu {statistics.median(costs[name]):.2f} s{goal}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[3] == "uvloop":
        import uvloop

        uvloop.run(_endpoint(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(_endpoint(sys.argv[1], int(sys.argv[2])))
