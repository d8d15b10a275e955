"""Pods that run: how soon, beside what the engine itself takes; a forwarded port; an idle daemon."""

from __future__ import annotations

import asyncio
import io
import statistics
import subprocess
import sysconfig
import tarfile
import time
from pathlib import Path
from typing import Any

from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR
from cove.node.docker import EngineError, find_engine
from cove.node.docker.connection import Engine

__all__ = ["IMAGE", "cpu", "engine_of_this_machine", "make_image", "pods"]

PODS = GVR("", "v1", "pods")
IMAGE = "cove.dev/bench:1"
BUSYBOX = Path("/bin/busybox")
SIZE = 200 << 20


def engine_of_this_machine() -> str:
    """ "" if there is an engine and what the image is made of, else what is missing."""
    try:
        if find_engine("docker") is None:
            return "no engine"
    except EngineError as e:
        return str(e)
    return "" if BUSYBOX.exists() else "busybox-static is not installed"


async def make_image(engine: Engine) -> None:
    """The image of the pods that are measured, from this machine alone."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in ("sh", "sleep", "nc", "head", "true", "mkfifo"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    await engine.import_image(IMAGE, file.getvalue(), 'CMD ["/bin/sh"]')


async def _floor(engine: Engine, rounds: int) -> float:
    """The engine's own time from a wish to a container that runs, as ``docker run -d`` takes."""
    times = []
    for n in range(rounds):
        begun = time.perf_counter()
        made = await engine.create(f"cove-bench-{n}", {"Image": IMAGE, "Cmd": ["sleep", "1000"]})
        await engine.start(made)
        times.append(time.perf_counter() - begun)
        await engine.remove(made)
    return statistics.median(times)


def _pod(name: str, script: str) -> dict[str, Any]:
    one = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [one], "terminationGracePeriodSeconds": 0},
    }


async def _running(client: Client, name: str, script: str) -> float:
    begun = time.perf_counter()
    made = await client.create(PODS, _pod(name, script), "default")
    version = made["metadata"]["resourceVersion"]
    async with client.watch(
        PODS, "default", field_selector=f"metadata.name={name}", resource_version=version
    ) as events:
        async for event in events:
            if event.object.get("status", {}).get("phase") == "Running":
                break
    return time.perf_counter() - begun


async def _drain(port: int, host: str = "127.0.0.1") -> float:
    """MB/s of what a port has to say."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    size = 0
    while data := await reader.read(1 << 20):
        size += len(data)
    writer.close()
    assert size == SIZE, size
    return size / (time.perf_counter() - begun) / 1e6


async def _forward(config: str, client: Client) -> tuple[float, float]:
    """(MB/s through kubectl port-forward, MB/s straight to the pod)."""
    await _running(client, "source", f"while :; do head -c {SIZE} /dev/zero | nc -l -p 9000; done")
    pod = await client.get(PODS, "source", "default")
    process = await asyncio.create_subprocess_exec(
        str(Path(sysconfig.get_path("scripts")) / "kubectl"),
        *("--kubeconfig", config, "port-forward", "pod/source", ":9000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        port = int(line.partition("127.0.0.1:")[2].split()[0])
        through = await _drain(port)
    finally:
        process.kill()
        await process.wait()
    await asyncio.sleep(0.5)  # nc listens again
    return through, await _drain(9000, pod["status"]["podIP"])


def cpu(pid: int) -> float:
    """Seconds of CPU a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def pods(config: str, pid: int, rounds: int = 10) -> None:
    """Print the rows; ``config`` and ``pid`` are those of a cluster whose pods run in Docker."""
    address = find_engine("docker")
    assert address is not None
    connection = kubeconfig.load(config)
    async with Engine(address) as engine, Client.connect(connection) as client:
        await make_image(engine)
        floor = await _floor(engine, rounds)
        times: list[float] = []
        for n in range(rounds):
            times += [await _running(client, f"p{n}", "sleep 1000")]
            await client.delete(PODS, f"p{n}", "default", grace=0)
        middle = statistics.median(times)
        through, straight = await _forward(config, client)
    print(f"{'Pod created → Running':<34}{middle:9.3f} s   goal ≤ 0.5 s")
    print(f"{'… of which the engine, one container':<34}{floor:7.3f} s")
    print(f"{'kubectl port-forward':<34}{through:9.0f} MB/s (straight to the pod {straight:.0f})")
    await asyncio.sleep(2)
    seconds, before = 20, cpu(pid)
    await asyncio.sleep(seconds)
    idle = 100 * (cpu(pid) - before) / seconds
    print(f"{'CPU of an idle daemon, one pod':<34}{idle:9.2f} %   goal ≤ 1 %")
