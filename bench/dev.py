"""The inner loop: from a saved file to the pod that runs it, beside what the engine itself takes.

The floor of a build is measured with the same image, engine, registry and cluster, by hand: a
build, a push, a patch of the Deployment, until its new pod is ready.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.pods import IMAGE, make_image
from cove.client import Client, kubeconfig
from cove.host.rollout import unready
from cove.kube.gvk import GVR
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

__all__ = ["dev"]

DEPLOYMENTS = GVR("apps", "v1", "deployments")
PODS = GVR("", "v1", "pods")
COVE = [sys.executable, "-m", "cove.cli"]
TIMES = 7
FILES = 5_000

APP = """import cove
app = cove.App("benchdev")
k8s = app.cluster("k8s")
app.image("page", ".", sync=[("src/**", "/www")])
k8s.manifests("page-manifests", "k8s.yaml", images={"page": "page"})
"""
MANIFESTS = """apiVersion: apps/v1
kind: Deployment
metadata: {name: page}
spec:
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: page, image: page}]
"""


def _project(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src/page.txt").write_text("0")
    (folder / "rebuild.txt").write_text("0")
    (folder / "app.py").write_text(APP)
    (folder / "k8s.yaml").write_text(MANIFESTS)
    (folder / ".dockerignore").write_text("app.py\nk8s.yaml\n")
    (folder / "Dockerfile").write_text(
        f'FROM {IMAGE}\nCOPY src /www\nCOPY rebuild.txt /\nCMD ["sleep", "100000"]\n'
    )


async def dev() -> None:
    """All of it, printed; nothing is left."""
    address = find_engine("docker")
    assert address is not None
    async with Engine(address) as engine:
        if await engine.image(IMAGE) is None:
            await make_image(engine)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            _project(folder)
            env = {**os.environ, "COVE_CONTAINER_ENGINE": "docker"}
            try:
                await _loop(engine, folder, env)
            finally:
                await asyncio.to_thread(_cove, folder, env, "down")


async def _loop(engine: Engine, folder: Path, env: dict[str, str]) -> None:
    facts = json.loads(await asyncio.to_thread(_cove, folder, env, "up", "-o", "json"))
    watch = await asyncio.create_subprocess_exec(
        *COVE, "dev", "watch", "--no-logs", cwd=folder, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await _said(watch, "ready in")
        connection = kubeconfig.load(facts["kubeconfig"])
        async with Client.connect(connection) as client:
            await _measure(client, engine, folder, facts["registry"], watch)
    finally:
        watch.terminate()
        await watch.communicate()
    await _idle(folder, env)


def _cove(folder: Path, env: dict[str, str], *arguments: str) -> bytes:
    command = [*COVE, "dev", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True).stdout


async def _said(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if text in line.decode():
            return
    raise RuntimeError(f"the loop ended without saying {text}")


async def _measure(
    client: Client,
    engine: Engine,
    folder: Path,
    registry: str,
    watch: asyncio.subprocess.Process,
) -> None:
    synced = []
    for number in range(1, TIMES + 1):
        pod = await _pod(client)
        # Who looks for it is there before: what is measured is the file, not a command's start.
        looks = f'while [ "$(cat /www/page.txt)" != {number} ]; do sleep 0.005; done'
        looking = asyncio.create_task(client.exec(pod, ["sh", "-c", looks], "default"))
        await asyncio.sleep(0.5)
        begun = time.perf_counter()
        (folder / "src/page.txt").write_text(str(number))
        await looking
        synced.append(time.perf_counter() - begun)
        await _said(watch, "synced in")
    print(f"save → file in the running pod: {_shown(synced)}")
    floors, loops = [], []
    for number in range(1, TIMES + 1):
        floors.append(await _floor(client, engine, registry, number))
        before = await _image(client)
        begun = time.perf_counter()
        (folder / "rebuild.txt").write_text(f"loop {number}")
        await _rolled(client, before)
        loops.append(time.perf_counter() - begun)
        await _said(watch, "ready in")
    floor, loop = statistics.median(floors), statistics.median(loops)
    print(f"build + push + roll by hand:    {_shown(floors)}")
    print(f"save → new pod ready:           {_shown(loops)}, {loop - floor:+.2f} s of the floor")


async def _idle(folder: Path, env: dict[str, str]) -> None:
    """A loop that watches many files and has nothing to do."""
    many = folder / "src/many"
    many.mkdir()
    for number in range(FILES):
        (many / f"{number}.txt").write_text(str(number))
    watch = await asyncio.create_subprocess_exec(
        *COVE, "dev", "watch", "--no-logs", cwd=folder, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        await _said(watch, "ready in")
        await asyncio.sleep(5)
        begun, used = time.perf_counter(), _cpu(watch.pid)
        await asyncio.sleep(20)
        share = (_cpu(watch.pid) - used) / (time.perf_counter() - begun)
        print(f"{FILES} watched files, idle: {_rss(watch.pid):.1f} MiB, {share:.2%} CPU")
    finally:
        watch.terminate()
        await watch.communicate()


def _shown(seconds: list[float]) -> str:
    return (
        f"{statistics.median(seconds):.2f} s (median of {len(seconds)}; "
        f"{min(seconds):.2f}–{max(seconds):.2f})"
    )


async def _pod(client: Client) -> str:
    pods = (await client.list(PODS, "default", label_selector="app=page")).items
    return next(
        str(p["metadata"]["name"]) for p in pods if not p["metadata"].get("deletionTimestamp")
    )


async def _image(client: Client) -> str:
    found = await client.get(DEPLOYMENTS, "page", "default")
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


async def _rolled(client: Client, before: str) -> None:
    """Return when another image than ``before`` is rolled out."""
    listed = await client.list(DEPLOYMENTS, "default")
    async with client.watch(
        DEPLOYMENTS, "default", resource_version=listed.resource_version
    ) as events:
        async for event in events:
            if event.type != "MODIFIED" or event.object["metadata"]["name"] != "page":
                continue
            image = event.object["spec"]["template"]["spec"]["containers"][0]["image"]
            if image != before and _done(event.object):
                return


def _done(obj: dict[str, Any]) -> bool:
    return not unready({**obj, "kind": "Deployment"})


async def _floor(client: Client, engine: Engine, registry: str, number: int) -> float:
    """The same by hand: build, push, patch, until the new pod is ready."""
    name = f"{registry}/bench/floor:{number}"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as packed:
        for path, text in (
            ("Dockerfile", f"FROM {IMAGE}\nCOPY src /www\nCOPY rebuild.txt /\n"
             'CMD ["sleep", "100000"]\n'),
            ("src/page.txt", str(TIMES)),
            ("rebuild.txt", f"floor {number} {time.time()}"),
        ):  # fmt: skip
            entry = tarfile.TarInfo(path)
            data = text.encode()
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    tar.seek(0)
    begun = time.perf_counter()
    params = {
        "t": name, "rm": "true", "forcerm": "true", "labels": '{"dev.cove.dev": "benchdev-k8s"}',
    }  # fmt: skip
    async for said in engine.build(tar, params):
        assert "error" not in said, said
    digest = ""
    async for said in engine.push(name):
        digest = (said.get("aux") or {}).get("Digest") or digest
    before = await _image(client)
    rolling = asyncio.create_task(_rolled(client, before))
    await asyncio.sleep(0)
    image = f"{registry}/bench/floor@{digest}"
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "page", "image": image}]}}}}
    await client.patch(DEPLOYMENTS, "page", patch, "default", type="strategic")
    await rolling
    return time.perf_counter() - begun


def _cpu(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    """MiB that a process has resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
