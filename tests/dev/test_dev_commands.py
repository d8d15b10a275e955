"""The commands as a person runs them: `cove dev up|bootstrap|run|watch|sync|down|init`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import yaml
from dev_world import BASE, make_base
from tests.elsewhere import ELSEWHERE

from cove.client import Client, kubeconfig
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

COVE = str(Path(sys.executable).with_name("cove"))
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/dev-gateway"
PATIENCE = 60
docker = pytest.mark.requires("docker", "registry")


@dataclass
class Command:
    """A command that runs, and what it has said."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())
            self.more.set()
        self.more.set()

    async def says(self, text: str, times: int = 1) -> str:
        """The first line that has it, once it was said so often."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = [line for line in self.lines if text in line]
                    if len(found) >= times:
                        return found[0]
                    self.more.clear()
                    await self.more.wait()
        except TimeoutError:
            raise AssertionError("\n".join(self.lines)) from None

    async def ends(self, *signals: signal.Signals) -> int:
        """Its exit code, after these signals."""
        for number in signals:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@dataclass
class Place:
    """A copy of the example, with ports and a home of its own."""

    folder: Path
    home: Path
    host_port: int

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "COVE_HOME": str(self.home), "COVE_CONTAINER_ENGINE": "docker"}

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[Command]:
        """A command in the example's folder; killed if it runs on."""
        process = await asyncio.create_subprocess_exec(
            COVE, "dev", *arguments, cwd=self.folder, env=self.env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        command = Command(process)
        reading = asyncio.create_task(command.read())
        try:
            yield command
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await reading

    async def cove(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """A command's output and errors; it is to end with ``code``."""
        process = await asyncio.create_subprocess_exec(
            COVE, "dev", *arguments, cwd=self.folder, env=self.env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == code, err.decode() + out.decode()
        return out.decode(), err.decode()

    async def served(self, path: str = "/") -> str:
        """What is served at the port that leads to the NodePort; elsewhere, by the API server."""
        if ELSEWHERE:
            return await self.through_the_server(path)
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://localhost:{self.host_port}{path}") as answer:
                        return (await answer.text()).strip()
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)  # between two pods

    async def through_the_server(self, path: str) -> str:
        """The same where no port of this machine leads to a NodePort."""
        where = "/api/v1/namespaces/default/services/gateway:80/proxy"
        connection = await asyncio.to_thread(kubeconfig.load)
        async with asyncio.timeout(PATIENCE), Client.connect(connection) as client:
            while True:
                answer = await client.transport.request("GET", where + path)
                if answer.status == 200:
                    return answer.body.decode().strip()
                await asyncio.sleep(0.05)  # between two pods


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def left(name: str) -> list[str]:
    """What the engine still has of a loop."""
    address = find_engine("docker", {})
    assert address is not None
    async with Engine(address) as engine:
        images = await engine.images({"dev.cove.dev": name})
        containers = await engine.containers({"dev.cove.cluster": ""})
        mine = [c for c in containers if c["Labels"]["dev.cove.cluster"].startswith(f"{name}-")]
        return [str(each) for each in (*images, *mine)]


@pytest.fixture(autouse=True)
def own_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands with pods find those of a cluster elsewhere, where there is one."""
    if any("docker" in mark.args for mark in request.node.iter_markers("requires")):
        for name, value in request.getfixturevalue("there").items():
            monkeypatch.setenv(name, value)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """The example; nothing of it is left afterwards."""
    await make_base()
    folder = tmp_path / "gateway"
    shutil.copytree(EXAMPLE, folder)
    file = folder / "Dockerfile"
    file.write_text(file.read_text().replace("busybox:1.36", BASE))
    here = Place(folder, tmp_path / "home", free_port())
    app = folder / "app.py"
    app.write_text(
        app.read_text().replace("8080: 30051", f"{here.host_port}: 30051").replace("date", "echo x")
    )
    yield here
    await here.cove("down")
    assert await left("gateway-k8s") == []
    assert not list((here.home / "clusters").glob("*"))
    assert not list((here.home / "dev").glob("*"))


@docker
async def test_the_example_from_up_to_down(place: Place) -> None:
    out, _ = await place.cove("up", "-o", "json")
    first = json.loads(out)
    assert re.fullmatch(r"localhost:\d+", first["registry"])
    assert Path(first["kubeconfig"]).is_file()
    assert not (place.home.parent / ".kube").exists()
    out, _ = await place.cove("up", "-o", "json")
    assert json.loads(out)["server"] == first["server"]

    _, said = await place.cove("bootstrap")
    assert "building" in said
    assert await place.served() == "<h1>Hello from the gateway</h1>"
    _, again = await place.cove("bootstrap")
    assert "building" not in again

    out, _ = await place.cove("sync", "-o", "json")
    (row,) = json.loads(out)
    assert row["how"] == "there"

    # Both modes at the same time, on the same cluster and registry.
    async with place.running("watch") as watch, place.running("run") as run:
        url = (await run.says("serving on")).split()[-1]
        await watch.says("ready in")
        async with aiohttp.ClientSession() as http, http.get(f"{url}/about") as answer:
            about = dict(line.split("=", 1) for line in (await answer.text()).split())
        assert about["KUBECONFIG"] == first["kubeconfig"]
        assert about["MODE"] == "local"
        assert about["images__gateway__reference"] == row["reference"]
        assert about["services__page__url"].startswith("http://localhost:")

        (place.folder / "src/index.html").write_text("edited")
        await watch.says("synced in")
        assert await place.served() == "edited"
        assert await place.served("/synced.txt") == "x"
        await run.says("src/index.html has changed: starting again")
        await run.says("serving on", 2)
        assert await run.ends(signal.SIGINT) == 130
        assert await watch.ends(signal.SIGINT) == 130
        await watch.says("deployment/gateway deleted")
    await place.cove("down")
    assert await left("gateway-k8s") == []


@docker
async def test_down_works_after_everything_was_killed(place: Place) -> None:
    async with place.running("watch") as watch, place.running("run") as run:
        await watch.says("ready in")
        await run.says("serving on")
        watch.process.kill()
        run.process.kill()
        await watch.process.wait()
        await run.process.wait()
    cluster = place.home / "clusters/gateway-k8s"
    pid = (
        int(re.findall(r"\d+", (cluster / "pid").read_text())[0])
        if (cluster / "pid").exists()
        else 0
    )
    if pid:
        os.kill(pid, signal.SIGKILL)
    _, said = await place.cove("down")
    assert "programs ended that were left behind" in said
    assert await left("gateway-k8s") == []
    _, again = await place.cove("down")
    assert "there was nothing of gateway-k8s" in again


@docker
async def test_down_ends_a_watch_that_is_at_work(place: Place) -> None:
    async with place.running("watch", "--no-logs") as watch:
        await watch.says("ready in")
        _, other = await place.cove("watch", code=1)
        assert "is at work on gateway-k8s already" in other
        _, said = await place.cove("down")
        assert "`cove dev watch` has ended" in said
        assert await watch.ends() == 0


@docker
async def test_no_other_program_is_needed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = place.folder / "tools"
    tools.mkdir()
    for name in ("docker-registry", "ip", "iptables-restore", "iptables-save", "nsenter", "sysctl"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    chart = place.folder / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: gateway\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("image: {repository: nothing, tag: none}\n")
    manifests = (place.folder / "deploy/web.yaml").read_text()
    told = 'image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"'
    (chart / "templates/web.yaml").write_text(manifests.replace("image: example/gateway", told))
    app = place.folder / "app.py"
    app.write_text(
        app.read_text().replace(
            'k8s.manifests("web", "deploy/web.yaml", images={"example/gateway": "gateway"})',
            'k8s.helm("web", chart="chart", images={"image": "gateway"})',
        )
    )
    monkeypatch.setenv("PATH", str(tools))
    assert all(shutil.which(name) is None for name in ("kubectl", "helm", "docker", "k3d"))
    out, _ = await place.cove("bootstrap", "-o", "json")
    assert json.loads(out)["deployed"] == ["web"]
    assert "Hello" in await place.served()


@docker
async def test_a_second_ctrl_c_ends_at_once(place: Place) -> None:
    async with place.running("watch") as watch:
        await watch.says("ready in")
        watch.process.send_signal(signal.SIGINT)
        await watch.says("Ctrl-C once more")
        assert await watch.ends(signal.SIGINT) == 130


@pytest.mark.embedded("the registry of a cluster that exists has its port already")
@docker
async def test_a_taken_port_is_told_and_another_chosen(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app = place.folder / "app.py"
        app.write_text(app.read_text().replace("registry_port=5000", f"registry_port={port}"))
        out, said = await place.cove("up", "-o", "json")
        registry = json.loads(out)["registry"]
        assert f"port {port} is taken: the registry is {registry}" in said
        assert registry != f"localhost:{port}"


@docker
async def test_the_same_commands_work_on_a_cluster_by_its_context(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = await place.cove("up", "-o", "json")
    up = json.loads(out)
    with monkeypatch.context() as changed:
        changed.setenv("KUBECONFIG", up["kubeconfig"])
        name = yaml.safe_load(Path(up["kubeconfig"]).read_text())["current-context"]
        context = ("--context", name, "--name", "elsewhere")
        out, _ = await place.cove("bootstrap", *context, "-o", "json")
        found = json.loads(out)
        assert (found["engine"], found["server"]) == ("existing", up["server"])
        assert found["registry"] == up["registry"]  # the cluster says so itself
        assert "Hello" in await place.served()
        # Nobody's environment leads there any more: it is known all the same.
        assert Path(found["kubeconfig"]).is_file()
        changed.setenv("KUBECONFIG", str(place.home / "none"))
        _, said = await place.cove("down", "--name", "elsewhere")
        assert not Path(found["kubeconfig"]).exists()
        changed.setenv("KUBECONFIG", up["kubeconfig"])
        assert "deployment/gateway deleted" in said
        out, _ = await place.cove("up", "-o", "json")
        assert json.loads(out)["server"] == up["server"]  # the cluster itself stays


def test_the_task_runners_know_the_same_commands() -> None:
    commands = {"up", "bootstrap", "run", "watch", "sync", "down"}
    make = (EXAMPLE / "Makefile").read_text()
    assert set(re.findall(r"\$\(COVE\) dev (\w+)", make)) == commands
    just = (EXAMPLE / "justfile").read_text()
    assert set(re.findall(r"\{\{cove\}\} dev (\w+)", just)) == commands
    mise = tomllib.loads((EXAMPLE / "mise.toml").read_text())
    assert {t["run"].removeprefix("cove dev ") for t in mise["tasks"].values()} == commands
    assert mise["tasks"]["watch"]["depends"] == ["up"]


@docker
async def test_make_runs_them(place: Place) -> None:
    process = await asyncio.create_subprocess_exec(
        "make", "sync", f"COVE={COVE}", cwd=place.folder, env=place.env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    # The registry of a cluster that exists may have had it before.
    how = "(built|there)" if ELSEWHERE else "built"
    assert re.search(rf"gateway +{how} +localhost", out.decode())


async def test_wrong_usage_has_exit_code_2_and_errors_1(tmp_path: Path) -> None:
    here = Place(tmp_path, tmp_path / "home", 0)
    _, said = await here.cove("up", code=1)
    assert "has none of app.py, skaffold.yaml" in said
    assert "`cove dev init`" in said
    await here.cove("up", "--nonsense", code=2)
    _, said = await here.cove("up", "-f", "nothing.py", code=1)
    assert "there is no nothing.py" in said


async def test_an_engine_that_does_not_answer_is_told_with_who_chose_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text('import cove\napp = cove.App("x")\nk = app.cluster("k")\n')
    here = Place(tmp_path, tmp_path / "home", 0)
    _, said = await here.cove("up", "--container-engine", "unix:///nowhere.sock", code=1)
    assert "no container engine answers at unix:///nowhere.sock" in said
    assert "(--container-engine)" in said
    assert not (tmp_path / "home/clusters").exists()  # settled before anything is started


@docker
async def test_a_compose_file_is_run(tmp_path: Path) -> None:
    await make_base()
    folder = tmp_path / "shop"
    (folder / "site").mkdir(parents=True)
    (folder / "site/index.html").write_text("of compose")
    (folder / "Dockerfile").write_text(f"FROM {BASE}\nCOPY site /www\n")
    (folder / "compose.yaml").write_text(f"""
services:
  page:
    build: .
    command: httpd -f -p 8080 -h /www
    ports: ["0:8080"]
    volumes: ["./site:/www"]
    depends_on: [store]
    healthcheck: {{test: wget -q -O - localhost:8080, interval: 1s}}
  store:
    image: {BASE}
    command: sleep 1000
    stop_grace_period: 1s
    environment: {{A: b}}
""")
    here = Place(folder, tmp_path / "home", 0)
    try:
        async with here.running("watch") as watch:
            url = (await watch.says("leads to page")).split()[-4]
            await watch.says("ready in")
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                assert await answer.text() == "of compose"
            (folder / "site/index.html").write_text("changed")
            await watch.says("synced in")
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                assert await answer.text() == "changed"
            assert await watch.ends(signal.SIGINT) == 130
    finally:
        await here.cove("down")
    assert await left("shop-dev") == []
