"""k3s as a program of this machine, over a stand-in for it: a program called k3s.

It takes k3s' arguments, writes a kubeconfig where it is told to, and hands its port on to an
embedded server; it starts a process that outlives it, as containerd's shims do.  What k3s
itself makes of its arguments is not told here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import alive

from cove.client import Client, kubeconfig
from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.credentials import authority_of, issue
from cove.engines.embedded import EmbeddedCluster
from cove.engines.home import Settings
from cove.engines.k3s import K3sError, native
from cove.engines.k3s.native import MARK, NativeK3s, arguments
from cove.engines.k3s_options import K3sOptions, for_tests
from cove.engines.select import open_cluster
from cove.kube.gvk import GVR

NODES = GVR("", "v1", "nodes")
CONFIG_MAPS = GVR("", "v1", "configmaps")
WAIT = 30

STAND_IN = r"""#!{python}
# A stand-in for k3s.
import json, os, socket, subprocess, sys, threading

told = dict(a.split("=", 1) for a in sys.argv[2:] if "=" in a)
print("stand-in " + " ".join(sys.argv[1:]), file=sys.stderr, flush=True)
world = json.load(open({world!r}))
if world.get("dies"):
    print('level=fatal msg="the stand-in was told to die"', file=sys.stderr, flush=True)
    sys.exit(3)
# What outlives it, in a session of its own: a shim, and a container that knows nothing of it.
shim = subprocess.Popen(
    ["/bin/sh", "-c", "env -i sleep 1000 & echo $! >{pids}; wait"], start_new_session=True
)
if world.get("silent"):
    shim.wait()
listener = socket.create_server(("127.0.0.1", int(told["--https-listen-port"])))
doc = world["kubeconfig"].replace("PORT", told["--https-listen-port"])
with open(told["--write-kubeconfig"], "w") as file:
    file.write(doc)


def pump(one, other):
    try:
        while piece := one.recv(65536):
            other.sendall(piece)
    except OSError:
        pass
    for each in (one, other):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


while True:
    taken, _ = listener.accept()
    there = socket.create_connection(("127.0.0.1", world["port"]))
    for pair in ((taken, there), (there, taken)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""

Start = Callable[..., NativeK3s]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> AsyncIterator[Start]:
    """``start(dies=…, silent=…, **options)``: a native k3s called k8s, by the stand-in."""
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))
    program = tmp_path / "bin" / "k3s"
    program.parent.mkdir()
    world = tmp_path / "world.json"
    program.write_text(
        STAND_IN.replace("{python}", sys.executable)
        .replace("{world!r}", repr(str(world)))
        .replace("{pids}", str(tmp_path / "pid"))
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    # Root is asked for by k3s, not by its stand-in.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = Settings(in_memory=True, container_engine="none")
    credentials = issue(authority_of(None), settings.service_subnet, ["k8s"])
    async with EmbeddedCluster("k8s", settings, credentials=credentials) as cluster:
        given = cluster.kubeconfig_for("https://127.0.0.1:PORT", "default")
        facts = {
            "kubeconfig": given if isinstance(given, str) else given.decode(),
            "port": int(cluster.url.rpartition(":")[2]),
        }

        def make(*, dies: bool = False, silent: bool = False, **options: Any) -> NativeK3s:
            world.write_text(json.dumps({**facts, "dies": dies, "silent": silent}))
            k3s = options.pop("k3s", K3sOptions(native=True))
            found = open_cluster(
                "k8s", ClusterOptions(k3s=k3s, **options), engine="k3s", log=said.append
            )
            assert isinstance(found, NativeK3s)
            return found

        yield make


def left(folder: Path) -> set[int]:
    """Processes that bear the cluster's mark, or come from one that does."""
    return native._marked(folder)


async def test_a_session_is_ready_when_its_node_is_and_leaves_nothing(
    start: Start, tmp_path: Path, said: list[str]
) -> None:
    async with start() as cluster:
        folder = cluster.variants.folder
        assert (await cluster.health()).healthy
        connection = kubeconfig.load(str(cluster.kubeconfig_path))
        assert connection.server == cluster.url
        async with Client.connect(connection) as client:
            assert len((await client.list(NODES)).items) == 1
        container = int((tmp_path / "pid").read_text())
        assert alive(container)
        assert container in left(folder)

    assert left(folder) == set()
    assert not alive(container)
    assert not folder.exists()
    assert any(line.startswith("k8s: stand-in server --data-dir=") for line in said)


async def test_containers_reach_it_by_the_machines_name(start: Start) -> None:
    async with start() as cluster:
        folder = await cluster.container_kubeconfig("any")
        doc = yaml.safe_load((folder / "kubeconfig.yaml").read_text())
        port = cluster.url.rpartition(":")[2]

        assert doc["clusters"][0]["cluster"]["server"] == f"https://host.docker.internal:{port}"
        assert cluster.container_networks == ()


async def test_k3s_that_dies_is_told_with_its_last_words(start: Start, tmp_path: Path) -> None:
    cluster = start(dies=True)

    with pytest.raises(K3sError, match=r"k3s ended \(3\)[\s\S]*told to die"):
        await cluster.__aenter__()

    assert not cluster.variants.folder.exists()


async def test_k3s_that_is_killed_later_is_unhealthy(start: Start) -> None:
    async with start() as cluster:
        child = cluster._child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(WAIT):
            while not child.ended:
                await asyncio.sleep(0.01)

        health = await cluster.health()

    assert not health.healthy
    assert health.reason.startswith("k3s was ended by signal 9")


async def test_k3s_that_writes_nothing_is_given_up_with_all_it_started(
    start: Start, said: list[str]
) -> None:
    cluster = start(silent=True, k3s=K3sOptions(native=True, ready_timeout=1.5))

    with pytest.raises(K3sError, match=r"not ready after 1.5 s: k3s has not written"):
        await cluster.__aenter__()

    assert left(cluster.variants.folder) == set()
    assert not cluster.variants.folder.exists()


async def test_what_a_crash_left_is_ended_by_the_next_start(start: Start, tmp_path: Path) -> None:
    cluster = start()
    folder = cluster.variants.folder
    orphan = await asyncio.create_subprocess_exec(
        "/bin/sleep", "1000", env={MARK: str(folder)}, start_new_session=True
    )
    other = await asyncio.create_subprocess_exec(
        "/bin/sleep", "1000", env={MARK: f"{folder}-other"}, start_new_session=True
    )
    try:
        async with cluster:
            assert await orphan.wait() == -signal.SIGKILL
            assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


async def test_a_data_volume_outlives_the_session_with_its_token(
    start: Start, tmp_path: Path
) -> None:
    tokens = []
    for _ in range(2):
        async with start(data_volume="orders") as cluster:
            assert cluster._child is not None
            environment = Path(f"/proc/{cluster._child.pid}/environ").read_bytes()
            [line] = [v for v in environment.split(b"\0") if v.startswith(b"K3S_TOKEN=")]
            tokens.append(line)
    kept = tmp_path / "home" / "k3s-volumes" / "orders"

    assert tokens[0] == tokens[1]
    assert (kept / "data").is_dir()
    assert (kept / "token").stat().st_mode & 0o077 == 0


async def test_two_sessions_of_one_name_are_kept_apart(start: Start) -> None:
    async with start():
        with pytest.raises(OptionError, match="in use by another session"):
            await start().__aenter__()


async def test_one_in_containers_of_that_name_is_left_alone(start: Start) -> None:
    cluster = start()
    cluster.variants.prepare()
    (cluster.variants.folder / "engine").write_text("unix:///x\n")

    with pytest.raises(OptionError, match="runs in containers"):
        await cluster.__aenter__()

    assert (cluster.variants.folder / "engine").exists()


async def test_what_needs_a_container_is_told(start: Start, said: list[str]) -> None:
    options = for_tests(ClusterOptions(domains=("a.test",), k3s=K3sOptions(native=True)))
    async with start(domains=options.domains, k3s=options.k3s):
        assert said[0] == (
            "k3s runs natively: domains, registry, ingress, resolver are for k3s in containers"
        )


def test_the_command_line_says_where_everything_is() -> None:
    options = ClusterOptions(
        pod_subnet="10.50.0.0/16",
        disable=("ingress", "local-storage"),
        extra_args=("--debug",),
        k3s=K3sOptions(native=True, proxy_mode="nftables"),
    )

    line = arguments("k8s", options, Path("/s/k8s"), Path("/s/data"), 7443)

    assert line[0] == "server"
    assert line[-1] == "--debug"
    for argument in (
        "--data-dir=/s/data",
        "--https-listen-port=7443",
        "--write-kubeconfig=/s/k8s/cluster/kubeconfig.yaml",
        "--write-kubeconfig-mode=0600",
        "--node-name=k8s",
        "--private-registry=/s/k8s/registries.yaml",
        "--kubelet-arg=root-dir=/s/k8s/kubelet",
        "--tls-san=host.docker.internal",
        "--cluster-cidr=10.50.0.0/16",
        "--service-cidr=10.43.0.0/16",
        "--disable=servicelb",
        "--disable=traefik",
        "--disable=local-storage",
        "--kube-proxy-arg=proxy-mode=nftables",
    ):
        assert argument in line
    assert not any("cluster-init" in argument for argument in line)


@pytest.mark.parametrize(
    ("options", "said_of_it"),
    [
        ({"agents": 1}, "one node when it runs natively"),
        ({"lifetime": "persistent"}, "ends with its session"),
        ({"extra_args": ("--cluster-init",)}, "--cluster-init"),
        ({"data_volume": "../x"}, "no name of a volume"),
    ],
)
def test_what_it_cannot_do_is_refused_where_it_is_given(
    options: dict[str, Any], said_of_it: str
) -> None:
    with pytest.raises(OptionError, match=said_of_it):
        NativeK3s("k8s", ClusterOptions(k3s=K3sOptions(native=True), **options), log=print)


async def test_why_it_cannot_run_here_is_told_with_what_to_do(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert native.obstacle() == ""
    socket_ = tmp_path / "s"
    server = await asyncio.start_unix_server(lambda r, w: w.close(), str(socket_))
    async with server:
        monkeypatch.setattr(native, "CONTAINERD", socket_)
        assert "another k3s runs on this machine" in native.obstacle()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no program k3s on PATH" in native.obstacle()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in native.obstacle()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "on Linux alone" in native.obstacle()
    with pytest.raises(OptionError, match="on Linux alone"):
        await start().__aenter__()
