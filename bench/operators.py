"""Operators: a burst of objects, ours beside kopf's on the same API server, in turn.

Each operator is a process of its own and does the same: it writes into the status of every
object what its spec wants.  ``python -m bench.operators ours|kopf KUBECONFIG`` runs one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.load import Target, run
from cove.client import Client, kubeconfig
from cove.kube.gvk import GVR
from cove.operator import Entity, Operator, Struct, entity, field
from cove.operator.definitions import crd

__all__ = ["operators"]

OBJECTS = 5000
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
CACHES = GVR("bench.example.com", "v1", "caches")


class CacheSpec(Struct):
    """What is wanted."""

    size: int = 1


class CacheStatus(Struct):
    """What is."""

    ready: int = 0


@entity("bench.example.com/v1")
class Cache(Entity):
    """The object of the burst."""

    spec: CacheSpec = field(default_factory=CacheSpec)
    status: CacheStatus = field(default_factory=CacheStatus)


def _ours(config: str) -> None:
    import uvloop

    op = Operator("bench-operator")

    @op.reconcile(Cache, workers=16)
    async def keep(cache: Cache) -> None:
        cache.status.ready = cache.spec.size

    async def main() -> None:
        async with Client.connect(kubeconfig.load(config)) as client:
            async with op.runtime(client) as runtime:
                await runtime.synced()
                print("ready", flush=True)
                await runtime.work()

    uvloop.run(main())


def _kopf(config: str) -> None:
    import kopf

    os.environ["KUBECONFIG"] = config

    @kopf.on.login()
    def login(**options: Any) -> Any:
        return kopf.login_with_kubeconfig(**options)

    @kopf.on.startup()
    def configure(settings: Any, **_: Any) -> None:
        settings.posting.enabled = False
        # It keeps its progress in annotations unless told otherwise; a status write each.
        settings.persistence.finalizer = None
        settings.batching.worker_limit = None

    @kopf.on.create("bench.example.com", "v1", "caches")
    @kopf.on.update("bench.example.com", "v1", "caches", field="spec")
    async def keep(spec: Any, patch: Any, **_: Any) -> None:
        patch.status["ready"] = spec["size"]

    async def main() -> None:
        ready = asyncio.Event()

        async def tell() -> None:
            await ready.wait()
            print("ready", flush=True)

        await asyncio.gather(kopf.operator(clusterwide=True, ready_flag=ready), tell())

    asyncio.run(main())


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _body(i: int) -> bytes:
    doc = {
        "apiVersion": "bench.example.com/v1",
        "kind": "Cache",
        "metadata": {"name": f"c-{i}"},
        "spec": {"size": 3},
    }
    return json.dumps(doc).encode()


async def _settled(client: Client, count: int) -> None:
    """Return when so many objects have their status."""
    done: set[str] = set()
    listed = await client.list(CACHES, "default")
    done.update(o["metadata"]["name"] for o in listed.items if o.get("status", {}).get("ready"))
    async with client.watch(CACHES, "default", resource_version=listed.resource_version) as events:
        async for event in events:
            if event.object.get("status", {}).get("ready") == 3:
                done.add(event.object["metadata"]["name"])
            if len(done) >= count:
                return


async def _measure(
    which: str, config: str, client: Client, target: Target
) -> tuple[float, float, float]:
    """Seconds until all have their status, CPU seconds per object, MiB afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.operators", which, config],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert (await asyncio.to_thread(process.stdout.readline)).strip() == b"ready"
        await asyncio.sleep(1.0)
        before = _cpu(process.pid)
        begun = time.perf_counter()
        settled = asyncio.create_task(_settled(client, OBJECTS))
        path = "/apis/bench.example.com/v1/namespaces/default/caches"
        await run(target, lambda i: target.request("POST", path, _body(i)), OBJECTS)
        async with asyncio.timeout(300):
            await settled
        took = time.perf_counter() - begun
        return took, (_cpu(process.pid) - before) / OBJECTS, _rss(process.pid)
    finally:
        process.kill()
        process.wait()
        await client.delete_collection(CACHES, "default")
        while (await client.list(CACHES, "default")).items:  # noqa: ASYNC110 — it may take long
            await asyncio.sleep(0.1)


async def operators(config: Path) -> None:
    """Print the rows; ``config`` is of a cluster without nodes."""
    async with Client.connect(kubeconfig.load(str(config))) as client:
        await client.create(CRDS, crd(Cache))
        await asyncio.sleep(1.0)
        target = Target.of_kubeconfig(config)
        took, cpu, memory = await _measure("ours", str(config), client, target)
        print(f"{f'burst of {OBJECTS:,} objects, ours':<34}{took:9.2f} s")
        print(f"{'… CPU of each reconcile':<34}{1000 * cpu:9.3f} ms  goal ≤ 0.4 ms")
        print(f"{'… memory afterwards':<34}{memory:9.1f} MiB")
        if importlib.util.find_spec("kopf") is None:
            print("kopf is not installed: pip install 'cove[bench]'")
            return
        other, theirs, more = await _measure("kopf", str(config), client, target)
        print(f"{'… the same burst, kopf':<34}{other:9.2f} s   ({other / took:.1f}×, goal ≥ 5×)")
        print(f"{'… its CPU, its memory':<34}{1000 * theirs:9.3f} ms  {more:.1f} MiB")


if __name__ == "__main__":
    {"ours": _ours, "kopf": _kopf}[sys.argv[1]](sys.argv[2])
