"""``make bench``: drives a cluster and the floor in one run and prints the ratios.

Every figure that depends on the machine is told with its ratio to a bare aiohttp TLS
handler measured moments before on the same machine with the same client.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.application import application
from bench.deployments import deployments
from bench.dev import dev
from bench.files import files, why_not
from bench.forward import forward
from bench.load import Load, Result, Target, run, run_sessions
from bench.operators import operators
from bench.pods import engine_of_this_machine, pods
from bench.recording import recording
from bench.scale import NODES, scale
from bench.suite import suite
from bench.watchers import fan_out

BIN = Path(sysconfig.get_path("scripts"))
NAMESPACE = "bench"
BASE = f"/api/v1/namespaces/{NAMESPACE}"


def config_map(i: int) -> bytes:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"cm-{i}", "labels": {"app": "bench"}},
            "data": {"key": "value", "number": str(i)},
        }
    ).encode()


def pod(i: int, prefix: str = "pod") -> bytes:
    """A pod for a scheduler that is not there.

    Where no node is, ours would write a condition and an event for each: three writes, not one.
    """
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{prefix}-{i}", "labels": {"app": "bench", "index": str(i)}},
            "spec": {
                "schedulerName": "nobody",
                "containers": [
                    {
                        "name": "main",
                        "image": "registry.example.com/app:1",
                        "ports": [{"containerPort": 8080}],
                        "env": [{"name": "A", "value": "b"}],
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                    }
                ],
            },
        }
    ).encode()


class Row:
    """A line of the table."""

    def __init__(
        self, name: str, result: Result, floor: float, goal: str, cpu: float = 0.0
    ) -> None:
        self.name, self.result, self.goal = name, result, goal
        self.ratio = result.per_second / floor if floor else 1.0
        # Seconds of the server's CPU per request; 0: not known.
        self.cpu = cpu

    def __str__(self) -> str:
        r = self.result
        failed = f"  {r.failures} FAILED" if r.failures else ""
        cpu = f"  cpu {1e6 * self.cpu:6.0f} µs" if self.cpu else ""
        return (
            f"{self.name:<34}{r.per_second:>9.0f}/s  p50 {r.quantile(0.5):7.2f} ms"
            f"  p99 {r.quantile(0.99):7.2f} ms  {100 * self.ratio:5.0f} %{cpu}  {self.goal}{failed}"
        )


def cpu_seconds(pid: int) -> float:
    """The CPU a process has used so far; 0 where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(target: Target, floor: float, n: int, pid: int = 0, run: Load = run) -> list[Row]:
    """The operations of DESIGN against one server; ``pid`` is its process, if it is here."""
    rows: list[Row] = []

    async def op(
        name: str, goal: str, make: Callable[[int], bytes], count: int, clients: int = 8
    ) -> None:
        before = cpu_seconds(pid)
        result = await run(target, make, count, clients=clients)
        row = Row(name, result, floor, goal, (cpu_seconds(pid) - before) / count)
        print(row, flush=True)
        rows.append(row)

    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    body = json.dumps(namespace).encode()
    await run(target, lambda _: target.request("POST", "/api/v1/namespaces", body), 1, clients=1)
    account = json.dumps({"metadata": {"name": "default"}}).encode()
    await run(
        target,
        lambda _: target.request("POST", f"{BASE}/serviceaccounts", account),
        1,
        clients=1,
        expect=(201, 409),
    )
    # A first round that is not counted: schemas compile on first use.
    await run(
        target, lambda i: target.request("POST", f"{BASE}/configmaps", config_map(10**6 + i)), 50
    )
    await run(target, lambda i: target.request("POST", f"{BASE}/pods", pod(i, "warm")), 50)
    await op(
        "create ConfigMap",
        "≥ 30 %",
        lambda i: target.request("POST", f"{BASE}/configmaps", config_map(i)),
        n,
    )
    await op(
        "create Pod",
        "≥ 30 %",
        lambda i: target.request("POST", f"{BASE}/pods", pod(i)),
        2000,
    )
    await op(
        "get ConfigMap",
        "≥ 45 %",
        lambda i: target.request("GET", f"{BASE}/configmaps/cm-{i % n}"),
        2 * n,
    )
    merge = "application/merge-patch+json"
    await op(
        "merge patch ConfigMap",
        "≥ 25 %",
        lambda i: target.request(
            "PATCH", f"{BASE}/configmaps/cm-{i % n}", b'{"data":{"patched":"%d"}}' % i, merge
        ),
        n,
    )
    apply = "application/apply-patch+yaml"

    def applied(i: int) -> bytes:
        doc = json.loads(config_map(i % n))
        doc["data"] = {"applied": str(i)}
        path = f"{BASE}/configmaps/cm-{i % n}?fieldManager=bench&force=true"
        return target.request("PATCH", path, json.dumps(doc).encode(), apply)

    await op("apply ConfigMap", "≥ 25 %", applied, n)
    await op(
        "list 2,000 Pods",
        "≥ 220/s",
        lambda _: target.request("GET", f"{BASE}/pods"),
        200,
        2,
    )
    return rows


async def floor_rate(n: int, run: Load = run, by: str = "") -> float:
    """Requests per second of the bare handler."""
    with tempfile.TemporaryDirectory() as folder:
        read, write = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.floor", str(write), folder], pass_fds=[write]
        )
        os.close(write)
        try:
            with os.fdopen(read) as pipe:
                port = int(pipe.read())
            tls = ssl.create_default_context(cafile=str(Path(folder) / "ca.crt"))
            target = Target("127.0.0.1", port, "", tls)
            request = target.request("POST", "/", b"y" * 400)
            await run(target, lambda _: request, 500)
            result = await run(target, lambda _: request, n)
        finally:
            process.terminate()
            process.wait()
    print(Row(f"floor{by}: aiohttp TLS, 400 bytes", result, result.per_second, ""), flush=True)
    return result.per_second


def rss(pid: int) -> float:
    """Resident memory of a process, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def cove(*arguments: str) -> str:
    done = subprocess.run(
        [str(BIN / "cove"), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def started(name: str, *options: str) -> tuple[Path, int]:
    """A cluster in the background: its kubeconfig and its pid."""
    cove("up", "--name", name, *options)
    row: dict[str, Any] = json.loads(cove("status", "--name", name, "-o", "json"))[0]
    return Path(row["kubeconfig"]), int(row["pid"])


def start_times(rounds: int) -> None:
    """``cove up`` from the shell, and ``cove.embedded()`` in a program."""
    times = []
    cove("version")
    for _ in range(rounds):
        begun = time.perf_counter()
        cove("up", "--name", "start", "--in-memory")
        times.append(time.perf_counter() - begun)
        cove("reset", "--yes", "--name", "start")
    print(f"{'cove up (shell to ready)':<34}{statistics.median(times):9.2f} s   goal ≤ 0.6 s")
    code = """
import asyncio, sys, time
if sys.argv[1] == "warm":
    import cove.engines.embedded, cove.controllers, cove.node
begun = time.perf_counter()
import cove
async def main():
    async with cove.embedded() as cluster:
        await cluster.client.version()
        print(time.perf_counter() - begun)
asyncio.run(main())
"""
    for how, title in (("warm", "embedded() → first answer"), ("cold", "… with all imports")):
        times = [
            float(
                subprocess.run(
                    [sys.executable, "-c", code, how], capture_output=True, text=True, check=True
                ).stdout
            )
            for _ in range(rounds)
        ]
        goal = "goal ≤ 0.15 s" if how == "warm" else ""
        print(f"{title:<34}{statistics.median(times):9.3f} s   {goal}")


async def fork_time() -> None:
    """Fork a cluster of 1,000 objects until it has answered."""
    import cove as package
    from cove.kube.gvk import GVR

    config_maps = GVR("", "v1", "configmaps")
    async with package.embedded(nodes=0, controllers=False) as cluster:
        for i in range(1000):
            await cluster.client.create(
                config_maps,
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": f"cm-{i}", "namespace": "default"},
                    "data": {"i": str(i)},
                },
            )
        times = []
        for _ in range(50):
            begun = time.perf_counter()
            async with cluster.fork() as fork:
                await fork.client.version()
                times.append(time.perf_counter() - begun)
    milliseconds = 1000 * statistics.median(times)
    print(f"{'fork of 1,000 objects':<34}{milliseconds:9.3f} ms  goal ≤ 2 ms")


async def memory(target: Target, pid: int, idle: float) -> None:
    """What a stored Pod costs."""
    before = rss(pid)
    count = 5000
    await run(target, lambda i: target.request("POST", f"{BASE}/pods", pod(i, "mem")), count)
    each = 1024 * (rss(pid) - before) / count
    print(f"{'resident memory, idle':<34}{idle:9.1f} MiB goal ≤ 60 MiB")
    print(f"{'resident memory per stored Pod':<34}{each:9.1f} KiB goal ≤ 10 KiB")


async def containers() -> None:
    """Pods that run, where this machine has an engine."""
    missing = engine_of_this_machine()
    if missing:
        print(f"\npods that run were not measured: {missing}")
        return
    print("\ncove, durable, one node whose pods run in Docker; ingress and registry beside it")
    os.environ["COVE_CONTAINER_ENGINE"] = "docker"
    begun = time.perf_counter()
    kubeconfig, pid = started("bench")
    print(f"{'cove up (shell to ready)':<34}{time.perf_counter() - begun:9.2f} s")
    try:
        await pods(str(kubeconfig), pid)
    finally:
        cove("reset", "--yes", "--name", "bench")
        os.environ["COVE_CONTAINER_ENGINE"] = "none"


async def beside_kopf() -> None:
    """Operators in processes of their own, one after the other, on one API server."""
    print("\noperators: each object's status is written once")
    kubeconfig, _ = started("bench", "--in-memory", "--nodes", "0")
    try:
        await operators(kubeconfig)
    finally:
        cove("reset", "--yes", "--name", "bench")


async def forwarding() -> None:
    """Endpoints beside kubectl port-forward, where this machine has an engine."""
    missing = engine_of_this_machine()
    if missing:
        print(f"\nendpoints were not measured: {missing}")
        return
    print("\nendpoints and kubectl port-forward, one pod in Docker, in turn")
    os.environ["COVE_CONTAINER_ENGINE"] = "docker"
    kubeconfig, _ = started("bench")
    try:
        await forward(str(kubeconfig))
    finally:
        cove("reset", "--yes", "--name", "bench")
        os.environ["COVE_CONTAINER_ENGINE"] = "none"


async def mounted() -> None:
    """A cluster as files, beside kubectl, where this machine has FUSE."""
    missing = why_not()
    if missing:
        print(f"\nfiles were not measured: {missing}")
        return
    print("\nfiles: a mounted cluster of 11,000 pods, and kubectl")
    kubeconfig, _ = started("bench", "--in-memory", "--nodes", "0")
    try:
        await files(kubeconfig)
    finally:
        cove("reset", "--yes", "--name", "bench")


async def inner_loop() -> None:
    """The inner loop, where this machine has an engine."""
    missing = engine_of_this_machine()
    if missing:
        print(f"\nthe inner loop was not measured: {missing}")
        return
    print("\nthe inner loop, pods in Docker")
    os.environ["COVE_CONTAINER_ENGINE"] = "docker"
    try:
        await dev()
    finally:
        os.environ["COVE_CONTAINER_ENGINE"] = "none"


def peak(pid: int) -> float:
    """The most memory a process ever had resident, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


async def server(requests: int, beside: str = "") -> None:
    """The API server's own figures, and those of ``beside``, a kubeconfig, where there is one."""
    floor = await floor_rate(requests * 3)
    print("\ncove, embedded, in memory, no nodes")
    kubeconfig, pid = started("bench", "--in-memory", "--nodes", "0")
    try:
        idle = rss(pid)
        target = Target.of_kubeconfig(kubeconfig)
        await measure(target, floor, requests, pid)
        await fan_out(target, watchers=100, events=1000)
        await memory(target, pid, idle)
    finally:
        cove("reset", "--yes", "--name", "bench")
    print("\ncove, durable (SQLite, acknowledged after the commit)")
    kubeconfig, pid = started("bench", "--nodes", "0")
    try:
        target = Target.of_kubeconfig(kubeconfig)
        await measure(target, floor, requests, pid)
    finally:
        cove("reset", "--yes", "--name", "bench")
    print()
    floor = await floor_rate(requests * 3, run_sessions, " by aiohttp's client")
    print("\ncove, embedded, in memory, no nodes, by aiohttp's client")
    kubeconfig, pid = started("bench", "--in-memory", "--nodes", "0")
    try:
        target = Target.of_kubeconfig(kubeconfig)
        await measure(target, floor, requests, pid, run_sessions)
    finally:
        cove("reset", "--yes", "--name", "bench")
    if beside:
        print(f"\nbeside: {beside}")
        await measure(Target.of_kubeconfig(Path(beside)), floor, requests)


async def starting() -> None:
    """Starts and forks."""
    print()
    start_times(5)
    await fork_time()


async def controllers() -> None:
    """Deployments, and many pods on many nodes, all simulated."""
    print("\ncove, in memory, ten simulated nodes")
    kubeconfig, pid = started("bench", "--in-memory", "--nodes", "10")
    try:
        await deployments(kubeconfig.read_text())
    finally:
        cove("reset", "--yes", "--name", "bench")
    print(f"\ncove, in memory, {NODES:,} simulated nodes")
    for by_deployments, title in (
        (False, "10,000 pods created → Running"),
        (True, "… by ten Deployments"),
    ):
        kubeconfig, pid = started("bench", "--in-memory", "--nodes", str(NODES))
        try:
            seconds = await scale(kubeconfig.read_text(), by_deployments=by_deployments)
            print(f"{title:<34}{seconds:9.2f} s   goal ≤ 15 s")
            print(f"{'… the most memory meanwhile':<34}{peak(pid):9.1f} MiB goal ≤ 600 MB")
        finally:
            cove("reset", "--yes", "--name", "bench")


async def an_application() -> None:
    """What an application takes to start and to end."""
    print("\nan application on the embedded engine: examples/full, pods simulated")
    application()


async def testing() -> None:
    """The recorder, and suites of tests."""
    await recording()
    suite()


# In the order of a whole run; what is measured first is the server.
PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "start": starting,
    "controllers": controllers,
    "application": an_application,
    "testing": testing,
    "operators": beside_kopf,
    "dev": inner_loop,
    "files": mounted,
    "pods": containers,
    "forward": forwarding,
}


async def main(arguments: argparse.Namespace) -> None:
    # Nothing runs on the nodes unless a part wants it.
    os.environ["COVE_CONTAINER_ENGINE"] = "none"
    only = arguments.only or ["server", *PARTS]
    if "server" in only:
        await server(arguments.requests, arguments.beside or "")
    for name, part in PARTS.items():
        if name in only:
            await part()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--beside", metavar="KUBECONFIG", help="measure this server as well")
    parser.add_argument(
        "--only", action="append", choices=["server", *PARTS], help="only this part; repeatable"
    )
    parser.add_argument("--requests", type=int, default=3000, help="per operation")
    return parser.parse_args()


if __name__ == "__main__":
    import uvloop

    with tempfile.TemporaryDirectory(prefix="cove-bench-") as home:
        os.environ["COVE_HOME"] = home
        # As it is installed: nobody's start compiles every module anew.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        uvloop.run(main(parse()))
