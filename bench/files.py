"""A mounted cluster beside kubectl: listings, grep, cat, and the memory of the mount.

The API server, the mount and the programs are processes of their own on the same cores.  What
is cold is so for the mount and the kernel: it is mounted anew for each round.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.load import Target, run

__all__ = ["files", "why_not"]

BIN = Path(sysconfig.get_path("scripts"))
MANY, SOME = 10_000, 1_000
ROUNDS = 3
# kubectl takes tens of milliseconds a call: so many of the objects stand for all.
SAMPLE = 100


def why_not() -> str:
    """What this machine lacks for a mount; "" for nothing."""
    if not Path("/dev/fuse").exists() or shutil.which("fusermount3") is None:
        return "this machine has no FUSE"
    return "" if (BIN / "kubectl").exists() else "there is no kubectl"


def _pod(i: int) -> bytes:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{i}", "labels": {"app": "bench", "index": str(i)}},
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


async def _fill(kubeconfig: Path, namespace: str, count: int) -> None:
    target = Target.of_kubeconfig(kubeconfig)

    def post(path: str, body: bytes) -> bytes:
        return target.request("POST", path, body)

    doc = json.dumps({"metadata": {"name": namespace}}).encode()
    await run(target, lambda _: post("/api/v1/namespaces", doc), 1, clients=1)
    base = f"/api/v1/namespaces/{namespace}"
    account = json.dumps({"metadata": {"name": "default"}}).encode()
    await run(
        target, lambda _: post(f"{base}/serviceaccounts", account), 1, clients=1, expect=(201, 409)
    )
    await run(target, lambda i: post(f"{base}/pods", _pod(i)), count)


def _timed(command: str) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=True)
    assert done.stdout, f"{command} printed nothing"
    return time.perf_counter() - begun


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


class _Mount:
    """``with _Mount(kubeconfig) as mount``: its directory and its process."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self.directory = Path(tempfile.mkdtemp(prefix="cove-bench-"))
        self.pid = 0

    def __enter__(self) -> _Mount:
        self._cove("mount", "--kubeconfig", str(self._kubeconfig), str(self.directory))
        rows: list[dict[str, Any]] = json.loads(self._cove("mount", "-o", "json"))
        self.pid = rows[0]["pid"]
        return self

    def __exit__(self, *exc: object) -> None:
        self._cove("unmount", "--lazy", str(self.directory))
        self.directory.rmdir()

    def _cove(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BIN / "cove"), "files", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
        return done.stdout


def _told(what: str, seconds: float, goal: str = "") -> None:
    shown = f"{1000 * seconds:9.2f} ms" if seconds < 0.1 else f"{seconds:9.2f} s "
    print(f"{what:<44}{shown} {goal}", flush=True)


async def files(kubeconfig: Path) -> None:
    """Print the figures of one cluster."""
    await _fill(kubeconfig, "many", MANY)
    await _fill(kubeconfig, "some", SOME)
    cold, warm, later = [], [], []
    memory = 0.0
    for _ in range(ROUNDS):
        with _Mount(kubeconfig) as mount:
            idle = _resident(mount.pid)
            pods = mount.directory / "namespaces/many/pods"
            cold.append(_timed(f"ls -l {pods}"))
            warm.append(_timed(f"ls -l {pods}"))
            # The kernel has forgotten, the mount has not.
            await asyncio.sleep(1.5)
            later.append(_timed(f"ls -l {pods}"))
            memory = _resident(mount.pid)
    _told(f"ls -l of {MANY:,} objects, cold", statistics.median(cold), "goal ≤ 1.5 s")
    _told("… warm", statistics.median(warm), "goal ≤ 0.3 s")
    _told("… a while later", statistics.median(later))
    each = 1024 * (memory - idle) / MANY
    print(f"{'memory of the mount, idle':<44}{idle:9.1f} MiB goal ≤ 80 MB")
    print(f"{f'… with {MANY:,} objects':<44}{memory:9.1f} MiB goal ≤ 80 MB + 10 KB each")
    print(f"{'… for each':<44}{each:9.1f} KiB goal ≤ 10 KB")
    with _Mount(kubeconfig) as mount:
        await _beside_kubectl(kubeconfig, mount.directory / "namespaces/some/pods")


async def _beside_kubectl(kubeconfig: Path, pods: Path) -> None:
    """grep over a thousand objects, and the loop that does the same."""
    os.environ["KUBECONFIG"] = str(kubeconfig)
    kubectl = BIN / "kubectl"
    first = _timed(f"grep -rl --include=manifest.yaml nobody {pods}")
    again = _timed(f"grep -rl --include=manifest.yaml nobody {pods}")
    everything = _timed(f"grep -rl nobody {pods}")
    loop = (
        f"for i in $(seq {SAMPLE}); do "
        f"{kubectl} get pod pod-$i -n some -o yaml | grep -l nobody; done"
    )
    yaml = _timed(loop) * SOME / SAMPLE
    loop = (
        f"for i in $(seq {SAMPLE}); do {kubectl} get pod pod-$i -n some -o yaml | grep -l nobody; "
        f"{kubectl} get pod pod-$i -n some -o json | grep -l nobody; "
        f"{kubectl} describe pod pod-$i -n some | grep -l Name; done"
    )
    all_of_it = _timed(loop) * SOME / SAMPLE
    _told(f"grep -r in {SOME:,} manifest.yaml, cold", first, f"{yaml / first:5.0f}× goal ≥ 5×")
    _told("… warm", again, f"{yaml / again:5.0f}×")
    _told("… kubectl get -o yaml, one by one", yaml)
    _told("grep -r in all files of them", everything, f"{all_of_it / everything:5.0f}×")
    _told("… kubectl get -o yaml, -o json, describe", all_of_it)
    manifest = pods / "pod-1" / "manifest.yaml"
    times = []
    for _ in range(500):
        begun = time.perf_counter()
        manifest.read_bytes()
        times.append(time.perf_counter() - begun)
    _told("cat, warm: open, read, close", statistics.median(times), "goal ≤ 1 ms")
