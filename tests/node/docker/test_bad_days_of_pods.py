"""What happens to pods behind cove's back, to cove behind the pods' and to the engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from docker_world import IMAGE, World, container, is_ready, make_image, status_of

from cove.client import Client, kubeconfig
from cove.engines.embedded import embedded
from cove.kube.gvk import GVR
from cove.node.docker import EngineAddress, EngineError
from cove.node.docker.connection import Engine

pytestmark = pytest.mark.requires("docker")

PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")
COVE = Path(sysconfig.get_path("scripts")) / "cove"


async def test_a_container_that_somebody_removed_is_made_anew(world: World) -> None:
    await world.run("sleep 1000")
    pod = await world.running()
    await world.engine.remove(status_of(pod)["containerID"].partition("://")[2])
    again = await world.until(lambda p: status_of(p).get("restartCount") == 1 and is_ready(p))
    assert status_of(again)["lastState"]["terminated"]["exitCode"] == 137


async def test_a_sandbox_that_somebody_removed_takes_the_containers_with_it(world: World) -> None:
    await world.run("sleep 1000")
    before = await world.running()
    (sandbox,) = (c for c in await world.containers() if c["Labels"]["dev.cove.container"] == "POD")
    await world.engine.remove(sandbox["Id"])
    again = await world.until(lambda p: status_of(p).get("restartCount") == 1 and is_ready(p))
    assert again["status"]["podIP"] == before["status"]["podIP"]
    assert "SandboxChanged" in str(await world.told())


async def test_a_pod_subnet_that_is_in_use_is_named(engine: Engine) -> None:
    taken = "10.67.0.0/16"
    async with embedded(pod_subnet=taken, container_engine="docker"):
        with pytest.raises(EngineError, match=f"the pod subnet {taken} is in use .* --pod-subnet"):
            async with embedded(pod_subnet=taken, container_engine="docker"):
                raise AssertionError("it started")


async def test_two_clusters_side_by_side_have_addresses_of_their_own(world: World) -> None:
    async with embedded(container_engine="docker") as other:
        one, two = world.cluster.settings, other.settings
        assert not ip_network(one.pod_subnet).overlaps(ip_network(two.pod_subnet))
        assert not ip_network(one.service_subnet).overlaps(ip_network(two.service_subnet))


async def test_a_fork_of_a_cluster_with_containers_is_simulated(world: World) -> None:
    await world.run("sleep 1000")
    await world.running()
    before = len(await world.containers())
    async with world.cluster.fork() as fork:
        await fork.client.delete(PODS, "p", "default", grace=0)
        node = await fork.client.get(NODES, "node-0")
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "cove-simulated://1"
        await fork.settle()
    assert len(await world.containers()) == before
    assert is_ready(await world.client.get(PODS, "p", "default"))


# -- the daemon


@contextmanager
def _home(tmp_path: Path) -> Iterator[dict[str, str]]:
    env = {**os.environ, "COVE_HOME": str(tmp_path), "COVE_CONTAINER_ENGINE": "docker"}
    try:
        yield env
    finally:
        subprocess.run([COVE, "reset", "--yes", "--name", "bad"], env=env, check=False, timeout=60)


def _up(env: dict[str, str]) -> None:
    command = [COVE, "up", "--name", "bad", "--no-ingress", "--no-registry"]
    subprocess.run(command, env=env, check=True, timeout=60)


def _serving(tmp_path: Path) -> int:
    return int((tmp_path / "clusters" / "bad" / "lock").read_text())


@asynccontextmanager
async def _client(tmp_path: Path) -> AsyncIterator[Client]:
    path = tmp_path / "clusters" / "bad" / "kubeconfig"
    async with Client.connect(kubeconfig.load(str(path))) as client:
        yield client


async def _until(client: Client, fits: Any) -> dict[str, Any]:
    async with asyncio.timeout(60), client.watch(PODS, "default") as events:
        async for event in events:
            if event.type in ("ADDED", "MODIFIED") and fits(event.object):
                return event.object
    raise AssertionError("the watch ended")


async def _start(client: Client) -> dict[str, Any]:
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container("sleep 1000")]}
    await client.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, "default")
    return await _until(client, is_ready)


async def test_a_killed_daemon_takes_its_pods_over_again(engine: Engine, tmp_path: Path) -> None:
    with _home(tmp_path) as env:
        await asyncio.to_thread(_up, env)
        async with _client(tmp_path) as client:
            before = await _start(client)
        os.kill(_serving(tmp_path), signal.SIGKILL)
        await asyncio.to_thread(_up, env)
        async with _client(tmp_path) as client:
            after = await _until(client, is_ready)
            assert status_of(after)["containerID"] == status_of(before)["containerID"]
            assert status_of(after)["restartCount"] == 0
            # They are not only looked at: what ends is started again.
            await engine.kill(status_of(after)["containerID"].partition("://")[2])
            await _until(client, lambda p: status_of(p).get("restartCount") == 1 and is_ready(p))


async def test_what_was_deleted_while_nobody_looked_is_removed(
    engine: Engine, tmp_path: Path
) -> None:
    with _home(tmp_path) as env:
        await asyncio.to_thread(_up, env)
        async with _client(tmp_path) as client:
            pod = await _start(client)
        os.kill(_serving(tmp_path), signal.SIGKILL)
        (tmp_path / "clusters" / "bad" / "store.db").unlink()
        for extra in (tmp_path / "clusters" / "bad").glob("store.db-*"):
            extra.unlink()
        await asyncio.to_thread(_up, env)
        uid = {"dev.cove.pod.uid": pod["metadata"]["uid"]}
        assert await engine.containers(uid) == []


async def test_down_leaves_nothing_and_up_starts_the_pods_again(
    engine: Engine, tmp_path: Path
) -> None:
    with _home(tmp_path) as env:
        await asyncio.to_thread(_up, env)
        async with _client(tmp_path) as client:
            pod = await _start(client)
        down = [COVE, "down", "--name", "bad"]
        await asyncio.to_thread(subprocess.run, down, env=env, check=True, timeout=60)
        assert await engine.containers({"dev.cove.pod.uid": pod["metadata"]["uid"]}) == []
        assert not [n for n in await engine.networks() if n["Name"].startswith("cove-bad-")]
        await asyncio.to_thread(_up, env)
        async with _client(tmp_path) as client:
            again = await _until(client, lambda p: status_of(p).get("restartCount") == 1)
            assert again["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_cluster_in_memory_that_was_killed_is_reaped_by_the_next(engine: Engine) -> None:
    script = (
        "import asyncio, sys, cove\n"
        "from cove.kube.gvk import GVR\n"
        "async def main():\n"
        "    async with cove.embedded(container_engine='docker') as c:\n"
        "        body = {'metadata': {'name': 'left'}, 'spec': {'containers': [{'name': 'c',"
        f" 'image': '{IMAGE}', 'command': ['sleep', '1000']}}]}}}}\n"
        "        await c.client.create(GVR('', 'v1', 'pods'), body, 'default')\n"
        "        while True:\n"
        "            pod = await c.client.get(GVR('', 'v1', 'pods'), 'left', 'default')\n"
        "            if pod['status'].get('phase') == 'Running': break\n"
        "            await asyncio.sleep(0.05)\n"
        "        print(pod['metadata']['uid'], flush=True)\n"
        "        await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        uid = (await process.stdout.readline()).decode().strip()
    assert len(await engine.containers({"dev.cove.pod.uid": uid})) == 2
    process.kill()
    await process.wait()
    async with embedded(container_engine="docker"):
        assert await engine.containers({"dev.cove.pod.uid": uid}) == []


# -- the engine


class Docker:
    """A Docker of the test's own, to be killed.

    Its bridge is its own too: told to have none, dockerd removes the one of the machine.
    """

    BRIDGE = "covetest0"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = EngineAddress(f"unix://{folder}/docker.sock", "the test", "docker")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "docker.pid").unlink(missing_ok=True)
        dockerd = shutil.which("dockerd")
        if dockerd is None or os.geteuid():
            pytest.skip("this user cannot start a dockerd on this machine")
        command = [
            *(dockerd, "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
            *("--host", self.address.url, "--pidfile", f"{self.folder}/docker.pid"),
            *("--bridge", self.BRIDGE, "--iptables=false", "--ip-masq=false"),
        ]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while subprocess.run(["test", "-S", self.address.url[7:]], check=False).returncode:
            assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def kill(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(60)
        Path(self.address.url[7:]).unlink(missing_ok=True)


@pytest.fixture
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    folder = Path("/tmp") / f"cove-docker-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = Docker(folder)
    ip = ("ip", "link")
    subprocess.run([*ip, "add", made.BRIDGE, "type", "bridge"], check=True)
    try:
        address = ["ip", "address", "add", "10.69.0.1/24", "dev", made.BRIDGE]
        subprocess.run(address, check=True)
        made.start()
        try:
            yield made
        finally:
            made.kill(signal.SIGTERM)
    finally:
        subprocess.run([*ip, "delete", made.BRIDGE], check=True)
        shutil.rmtree(folder, ignore_errors=True)


async def test_an_engine_that_dies_and_comes_back_finds_its_pods_wanted(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVE_CONTAINER_ENGINE", raising=False)
    async with Engine(docker.address) as engine:
        await make_image(engine, IMAGE)
        async with embedded(container_engine=docker.address.url) as cluster:
            world = World(cluster, engine)
            await world.run("sleep 1000")
            await world.running()
            await asyncio.to_thread(docker.kill, signal.SIGTERM)
            async with asyncio.timeout(60), world.client.watch(NODES) as events:
                async for event in events:
                    if event.type != "BOOKMARK" and not is_ready(event.object):
                        break
            await asyncio.to_thread(docker.start)
            async with asyncio.timeout(60), world.client.watch(NODES) as events:
                async for event in events:
                    if event.type != "BOOKMARK" and is_ready(event.object):
                        break
            again = await world.until(
                lambda p: status_of(p).get("restartCount", 0) >= 1 and is_ready(p)
            )
            assert status_of(again)["state"]["running"]
