"""The k3s engine over real Docker, with a stand-in for k3s' image: see standin.py.

What k3s itself makes of its arguments is not told here; that it is given them is.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers_world import kubectl_inside, run
from k3s_world import Open, containers, log_of, until, what_is_left
from standin import IMAGE, behind

from cove.client import Client, ManualClock, kubeconfig
from cove.engines.cluster import OptionError
from cove.engines.credentials import authority_of, issue
from cove.engines.k3s import K3sError, entrypoint
from cove.engines.k3s_options import K3sOptions
from cove.kube.gvk import GVR
from cove.node.docker import EngineError
from cove.node.docker.connection import Engine
from cove.node.docker.labels import CLUSTER, CONFIG_HASH, HOME, INSTANCE, PID, ROLE
from cove.node.docker.reaper import reap

pytestmark = pytest.mark.requires("docker")

CONFIG_MAPS = GVR("", "v1", "configmaps")
NODES = GVR("", "v1", "nodes")
Doc = dict[str, Any]
WAIT = 30


async def passes(clock: ManualClock, entering: asyncio.Future[object], seconds: float) -> None:
    """Time goes on by so many seconds, again and again, until it has ended.

    Once is not enough: who is about to sleep when time is advanced sleeps from then on.
    """
    async with asyncio.timeout(WAIT):
        while not entering.done():
            clock.advance(seconds)
            await asyncio.sleep(0.01)


# -- a session


async def test_a_session_is_ready_when_its_nodes_are_and_leaves_nothing(
    start: Open, engine: Engine
) -> None:
    async with behind(nodes=3) as served:
        async with start(served, agents=2) as cluster:
            found = await containers(engine, cluster)
            nodes = await cluster.client.list(NODES)
            health = await cluster.health()
            properties = cluster.properties

            assert sorted(found) == ["agent-0", "agent-1", "server"]
            assert len(nodes.items) == 3
            assert health.healthy
            assert cluster.url == kubeconfig.load(str(cluster.kubeconfig_path)).server
            assert properties["privileged"] == "yes"
        assert await what_is_left(engine, cluster) == []


async def test_the_state_folder_is_its_users_alone_and_there_before_the_container(
    start: Open, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    create = Engine.create

    async def look(self: Engine, name: str, config: Doc) -> str:
        folder = cluster.variants.folder
        places = (folder, *(folder / sub for sub in ("cluster", "local", "container")))
        seen.append(tuple(stat.S_IMODE(place.stat().st_mode) for place in places))
        return await create(self, name, config)

    monkeypatch.setattr(Engine, "create", look)
    async with behind() as served:
        cluster = start(served, at_once=False)
        entering = asyncio.ensure_future(cluster.__aenter__())
        while not (cluster.variants.folder / "cluster").exists():
            await asyncio.sleep(0.01)
        served.place(cluster.variants.folder)
        await entering
        raw = cluster.variants.raw.stat()
        await cluster.__aexit__(None, None, None)

    assert seen == [(0o700, 0o700, 0o700, 0o755)]
    # What k3s wrote is to be read by the folder's user, and the folder by nobody else.
    assert stat.S_IMODE(raw.st_mode) == 0o644


async def test_everything_in_the_engine_says_whose_it_is(start: Open, engine: Engine) -> None:
    async with behind(nodes=2) as served, start(served, agents=1) as cluster:
        found = await containers(engine, cluster)
        [network] = await engine.networks(cluster.label)

        for name, role in (("server", "server"), ("agent-0", "agent")):
            labels = found[name]["Labels"]
            assert labels[ROLE] == role
            assert labels[CLUSTER] == f"k8s-{labels[INSTANCE]}"
            assert (labels[PID], labels[HOME]) == (str(os.getpid()), "")
            assert labels[CONFIG_HASH]
        assert network["Name"] == cluster.network
        assert network["Labels"][PID] == str(os.getpid())


async def test_k3s_is_given_its_arguments_environment_and_mounts(
    start: Open, engine: Engine
) -> None:
    async with (
        behind(nodes=2) as served,
        start(
            served, agents=1, pod_subnet="10.50.0.0/16", mirrors={"a.test": "http://b"}
        ) as cluster,
    ):
        found = await containers(engine, cluster)
        server = await log_of(engine, found["server"])
        agent = await log_of(engine, found["agent-0"])

    assert "stand-in server --tls-san=127.0.0.1" in server
    assert "--cluster-cidr=10.50.0.0/16" in server
    assert "K3S_KUBECONFIG_OUTPUT=/tmp/k3s-kubeconfig/kubeconfig.yaml" in server
    assert "stand-in agent\n" in agent
    assert "K3S_URL=https://k8s:6443\n" in agent
    tokens = {
        line
        for text in (server, agent)
        for line in text.splitlines()
        if line.startswith("K3S_TOKEN")
    }
    assert len(tokens) == 1
    for text in (server, agent):
        mounts = {line.split()[4]: line.split()[5] for line in text.splitlines() if " - " in line}
        assert mounts["/etc/rancher/k3s/registries.yaml"].startswith("ro")
        assert mounts["/sys/fs/cgroup"].startswith("rw")
        assert "/run" in mounts


async def test_agents_run_before_the_server_is_there(
    start: Open, engine: Engine, said: list[str]
) -> None:
    async with behind(nodes=2) as served:
        cluster = start(served, agents=1, at_once=False)
        entering = asyncio.ensure_future(cluster.__aenter__())
        await until(said, "k3s has not written its kubeconfig yet")
        found = await containers(engine, cluster)
        served.place(cluster.variants.folder)
        await entering
        await cluster.__aexit__(None, None, None)

    assert {name: each["State"] for name, each in found.items()} == {
        "server": "running",
        "agent-0": "running",
    }


async def test_readiness_goes_step_by_step_and_tells_each(start: Open, said: list[str]) -> None:
    """The file, the whole file, the API, enough nodes: no command is run in a container."""
    async with behind(nodes=1) as served:
        cluster = start(served, agents=1, at_once=False)
        entering = asyncio.ensure_future(cluster.__aenter__())
        await until(said, "k3s has not written its kubeconfig yet")
        assert not cluster.variants.local.exists()
        served.place(cluster.variants.folder)
        await until(said, "k3s has not finished its kubeconfig yet")
        await until(said, "1 of 2 nodes ready: 1 has not registered yet")
        assert not entering.done()
        joined = {
            "metadata": {"name": "k8s-agent-0"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        await served.cluster.client.create(NODES, joined)
        async with asyncio.timeout(WAIT):
            await entering
        await cluster.__aexit__(None, None, None)


async def test_the_servers_log_is_followed(start: Open, said: list[str]) -> None:
    async with behind() as served, start(served):
        assert await until(said, "k8s: stand-in server")


# -- who reaches it


@pytest.mark.requires("kubectl")
async def test_a_container_in_the_clusters_network_reaches_it_by_name(
    start: Open, engine: Engine
) -> None:
    async with behind() as served, start(served) as cluster:
        [network] = cluster.container_networks
        folder = await cluster.container_kubeconfig(network)
        doc = yaml.safe_load((folder / "kubeconfig.yaml").read_text())
        code, out = await kubectl_inside(
            engine, folder, network, "get", "nodes", "-o", "name", hosts=()
        )

        assert [p.name for p in folder.iterdir()] == ["kubeconfig.yaml"]
        entry = doc["clusters"][0]["cluster"]
        assert entry["server"] == "https://k8s:6443"
        assert set(entry) == {"server", "certificate-authority-data"}
        assert (code, len(out.split())) == (0, 1), out


async def test_a_port_that_is_asked_for_is_the_one_and_a_taken_one_is_told(
    start: Open, engine: Engine
) -> None:
    taken = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with behind() as served:
        async with taken:
            cluster = start(served, api_port=port)
            with pytest.raises(K3sError, match=r"does not start: .*choose another api_port"):
                await cluster.__aenter__()
            assert await what_is_left(engine, cluster) == []
        async with start(served, api_port=port) as cluster:
            assert cluster.url == f"https://127.0.0.1:{port}"
            assert (await cluster.health()).healthy


# -- credentials


async def test_stale_credentials_are_forgotten_and_the_raw_file_is_not(
    start: Open, said: list[str]
) -> None:
    """A kubeconfig of an earlier server lies there: its certificate does not fit."""
    async with behind() as served:
        other = issue(authority_of(None), "10.96.0.0/12")
        doc = yaml.safe_load(served.given)
        from base64 import b64encode

        doc["clusters"][0]["cluster"]["certificate-authority-data"] = b64encode(
            other.authority
        ).decode()
        right, served.given = served.given, yaml.safe_dump(doc)
        cluster = start(served)
        entering = asyncio.ensure_future(cluster.__aenter__())
        await until(said, "certificate is not the one of this kubeconfig")
        async with asyncio.timeout(WAIT):
            while cluster.variants.local.exists():
                await asyncio.sleep(0.01)
        assert cluster.variants.raw.exists()
        assert not cluster.variants.container.exists()
        assert not entering.done(), "a server that cannot be verified is never taken"

        # k3s writes its own, in place.
        cluster.variants.raw.write_text(right)
        async with asyncio.timeout(WAIT):
            await entering
        assert (await cluster.health()).healthy
        assert cluster.variants.container.exists()
        await cluster.__aexit__(None, None, None)


@pytest.mark.parametrize(("code", "kept"), [(401, False), (403, True)])
async def test_401_is_stale_and_403_is_not(start: Open, code: int, kept: bool) -> None:
    async with behind() as served, start(served) as cluster:
        with served.cluster.faults.error(code, verbs="list"):
            health = await cluster.health()
            there = cluster.variants.local.exists()
        after = await cluster.health()

        assert not health.healthy
        assert f"({code})" in health.reason
        assert there is kept
        assert cluster.variants.raw.exists()
        assert after.healthy
        assert cluster.variants.local.exists()


async def test_a_variant_is_not_written_anew_by_looking(start: Open) -> None:
    async with behind() as served, start(served) as cluster:
        before = cluster.variants.container.stat()
        for _ in range(50):
            assert (await cluster.health()).healthy

        after = cluster.variants.container.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_looking_leaks_nothing(start: Open) -> None:
    async with behind() as served, start(served) as cluster:

        def used() -> tuple[int, int]:
            return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

        for _ in range(10):
            await cluster.health()
        before = used()
        for _ in range(200):
            assert (await cluster.health()).healthy

        # Idle connections to Docker may have been closed meanwhile.
        assert all(now <= then for now, then in zip(used(), before, strict=True))


# -- what goes wrong


async def test_a_server_that_dies_is_told_with_its_last_words(start: Open, engine: Engine) -> None:
    async with behind() as served:
        cluster = start(served, agents=1, more_args=("--stand-in-dies=3",))
        with pytest.raises(K3sError) as failed:
            await cluster.__aenter__()

        text = str(failed.value)
        assert f"the container {cluster.network}-server has ended (3); its log ends with" in text
        assert 'level=fatal msg="the stand-in was told to die"' in text
        assert await what_is_left(engine, cluster) == []


async def test_a_container_that_ends_later_is_unhealthy_until_it_runs_again(
    start: Open, engine: Engine
) -> None:
    async with behind() as served, start(served) as cluster:
        found = await containers(engine, cluster)
        await engine.kill(found["server"]["Id"])
        async with asyncio.timeout(WAIT):
            while (health := await cluster.health()).healthy or "ended" not in health.reason:
                await asyncio.sleep(0.01)
        await engine.start(found["server"]["Id"])
        async with asyncio.timeout(WAIT):
            while not (await cluster.health()).healthy:
                await asyncio.sleep(0.05)

        # The engine gave it another port, and the kubeconfig followed.
        inspected = await engine.inspect(found["server"]["Id"])
        assert inspected is not None
        port = inspected["NetworkSettings"]["Ports"]["6443/tcp"][0]["HostPort"]
        assert cluster.url == f"https://127.0.0.1:{port}"
        assert kubeconfig.load(str(cluster.kubeconfig_path)).server == cluster.url


async def test_an_image_that_cannot_be_had_is_told_with_what_to_do(
    start: Open, engine: Engine
) -> None:
    image = "127.0.0.1:1/nobody/k3s:v1"
    async with behind() as served:
        cluster = start(served, images={"server": image})
        with pytest.raises(K3sError) as failed:
            await cluster.__aenter__()

        text = str(failed.value)
        assert f"the image {image} is not in unix:///var/run/docker.sock" in text
        assert f"`docker pull {image}`" in text
        assert 'images={"server": …}' in text
        assert await what_is_left(engine, cluster) == []


async def test_without_an_engine_it_is_told_what_it_takes(start: Open) -> None:
    async with behind() as served:
        with pytest.raises(EngineError, match="the k3s cluster k8s: there is no container engine"):
            await start(served, container_engine="none").__aenter__()


async def test_a_cluster_that_is_not_ready_in_time_is_given_up(
    start: Open, engine: Engine, said: list[str]
) -> None:
    clock = ManualClock()
    async with behind() as served:
        cluster = start(served, at_once=False, clock=clock)
        entering = asyncio.ensure_future(cluster.__aenter__())
        await until(said, "k3s has not written its kubeconfig yet")
        await until(said, "stand-in server")
        await passes(clock, entering, K3sOptions().ready_timeout)
        with pytest.raises(K3sError, match=r"not ready after 600 s: k3s has not written"):
            await entering
        assert await what_is_left(engine, cluster) == []


async def test_an_agent_that_never_joins_is_told_and_nothing_is_left(
    start: Open, engine: Engine, said: list[str]
) -> None:
    clock = ManualClock()
    async with behind(nodes=1) as served:
        cluster = start(served, agents=1, clock=clock)
        entering = asyncio.ensure_future(cluster.__aenter__())
        async with asyncio.timeout(WAIT):
            while not any("1 of 2 nodes ready: 1 has not registered" in line for line in said):
                clock.advance(0.25)
                await asyncio.sleep(0.01)
        await passes(clock, entering, K3sOptions().ready_timeout)
        with pytest.raises(K3sError, match=r"not ready after 600 s: 1 of 2 nodes ready: 1 has not"):
            await entering
        assert await what_is_left(engine, cluster) == []


async def test_a_kubeconfig_that_cannot_be_read_is_told_with_what_k3s_said(
    start: Open, engine: Engine, said: list[str]
) -> None:
    clock = ManualClock()
    async with behind() as served:
        served.given = "clusters: [never finished\n"
        cluster = start(served, clock=clock, k3s=K3sOptions(ready_timeout=120.0))
        entering = asyncio.ensure_future(cluster.__aenter__())
        await until(said, "stand-in server")
        async with asyncio.timeout(WAIT):
            while not (cluster.variants.raw.exists() and cluster.variants.raw.stat().st_size):
                await asyncio.sleep(0.01)
        await passes(clock, entering, 60.0)
        with pytest.raises(K3sError) as failed:
            await entering

        text = str(failed.value)
        assert (
            "not ready after 120 s: k3s has not finished its kubeconfig yet: it is no YAML" in text
        )
        assert "the server's log ends with\n  " in text
        assert await what_is_left(engine, cluster) == []


@pytest.mark.parametrize("moment", ["create", "put", "start", "ended"])
async def test_who_is_cancelled_leaves_promptly_and_nothing_behind(
    start: Open, engine: Engine, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    reached = asyncio.Event()
    real = getattr(Engine, moment)

    async def watched(self: Engine, *args: Any) -> Any:
        reached.set()
        return await real(self, *args)

    monkeypatch.setattr(Engine, moment, watched)
    before = len(asyncio.all_tasks())
    async with behind(nodes=2) as served:
        cluster = start(served, agents=1, at_once=False)
        tasks = len(asyncio.all_tasks())
        entering = asyncio.ensure_future(cluster.__aenter__())
        await reached.wait()

        entering.cancel()
        async with asyncio.timeout(WAIT):
            with pytest.raises(asyncio.CancelledError):
                await entering

        assert await what_is_left(engine, cluster) == []
        assert len(asyncio.all_tasks()) == tasks
    assert len(asyncio.all_tasks()) == before


# -- what lasts


async def test_a_persistent_cluster_is_taken_as_it_is(
    start: Open, engine: Engine, said: list[str]
) -> None:
    async with behind(nodes=2) as served:
        async with start(served, lifetime="persistent", agents=1) as cluster:
            first = await containers(engine, cluster)
        stays = await containers(engine, cluster)
        said.clear()
        async with start(served, lifetime="persistent", agents=1, at_once=False) as cluster:
            second = await containers(engine, cluster)
            assert (await cluster.health()).healthy
            cluster.discard()

        assert {n: e["Id"] for n, e in first.items()} == {n: e["Id"] for n, e in second.items()}
        assert stays["server"]["State"] == "running"
        assert not any("anew" in line for line in said)
        assert await what_is_left(engine, cluster) == []


async def test_a_persistent_container_of_other_options_is_made_anew_and_told_why(
    start: Open, engine: Engine, said: list[str]
) -> None:
    async with behind(nodes=2) as served:
        async with start(served, lifetime="persistent", agents=1) as cluster:
            first = await containers(engine, cluster)
        options: Doc = {"lifetime": "persistent", "agents": 1, "pod_subnet": "10.50.0.0/16"}
        async with start(served, **options) as cluster:
            second = await containers(engine, cluster)
            text = await log_of(engine, second["server"])
            cluster.discard()

    assert (
        "the server of k8s is made anew, without its objects: pod_subnet was 10.42.0.0/16, is "
        "10.50.0.0/16"
    ) in said
    assert not {e["Id"] for e in first.values()} & {e["Id"] for e in second.values()}
    assert "--cluster-cidr=10.50.0.0/16" in text


async def test_agents_come_and_go_without_the_server(
    start: Open, engine: Engine, said: list[str]
) -> None:
    async with behind(nodes=3) as served:
        async with start(served, lifetime="persistent", agents=1) as cluster:
            first = await containers(engine, cluster)
        async with start(served, lifetime="persistent", agents=2) as cluster:
            more = await containers(engine, cluster)
        async with start(served, lifetime="persistent") as cluster:
            fewer = await containers(engine, cluster)
            cluster.discard()

    assert sorted(more) == ["agent-0", "agent-1", "server"]
    assert more["agent-0"]["Id"] == first["agent-0"]["Id"]
    assert list(fewer) == ["server"]
    assert fewer["server"]["Id"] == first["server"]["Id"]
    assert any("agent-1 is removed: there are to be 0 agents" in line for line in said)


async def test_two_who_start_a_persistent_cluster_at_once_get_one(
    start: Open, engine: Engine
) -> None:
    async with behind() as served:
        one = start(served, lifetime="persistent")
        other = start(served, lifetime="persistent", at_once=False)
        await asyncio.gather(one.__aenter__(), other.__aenter__())

        found = await containers(engine, one)
        assert list(found) == ["server"]
        assert one.url == other.url
        await other.__aexit__(None, None, None)
        assert (await one.health()).healthy
        one.discard()
        await one.__aexit__(None, None, None)
        assert await what_is_left(engine, one) == []


async def test_what_the_engine_refuses_is_told_as_an_error_of_the_cluster(
    start: Open, engine: Engine
) -> None:
    async with behind() as served:
        cluster = start(served)
        await engine.create_network({"Name": cluster.network, "CheckDuplicate": True})
        try:
            with pytest.raises(K3sError, match=r"the k3s cluster k8s cannot be made: .*exists"):
                await cluster.__aenter__()
        finally:
            await engine.remove_network(cluster.network)
        assert await engine.containers(cluster.label) == []


async def test_a_stopped_persistent_cluster_is_started_again(start: Open, engine: Engine) -> None:
    async with behind() as served:
        async with start(served, lifetime="persistent") as cluster:
            first = await containers(engine, cluster)
        await engine.stop(first["server"]["Id"], 1)
        async with start(served, lifetime="persistent") as cluster:
            second = await containers(engine, cluster)
            assert (await cluster.health()).healthy
            cluster.discard()

    assert second["server"]["Id"] == first["server"]["Id"]


async def test_a_session_does_not_end_a_persistent_cluster(start: Open, engine: Engine) -> None:
    async with behind() as served:
        async with start(served, lifetime="persistent") as cluster:
            pass
        with pytest.raises(OptionError, match=f"`docker rm -fv {cluster.network}-server`"):
            await start(served).__aenter__()
        found = await containers(engine, cluster)
        assert cluster.variants.folder.exists()

    assert found["server"]["State"] == "running"


async def test_two_sessions_of_one_name_are_kept_apart(start: Open) -> None:
    async with behind() as served, start(served) as cluster:
        second = start(served, lifetime="persistent")
        with pytest.raises(OptionError, match="in use by another session"):
            await second.__aenter__()
        assert (await cluster.health()).healthy


async def test_a_data_volume_outlives_the_session_with_its_token(
    start: Open, engine: Engine
) -> None:
    async with behind() as served:
        tokens = []
        for _ in range(2):
            async with start(served, data_volume="") as cluster:
                volume = cluster.properties["data_volume"]
                found = await containers(engine, cluster)
                text = await log_of(engine, found["server"])
                tokens += [line for line in text.splitlines() if line.startswith("K3S_TOKEN=")]
                mounts = {m["Destination"]: m for m in found["server"]["Mounts"]}
                assert mounts["/var/lib/rancher/k3s"]["Name"] == volume
                # What a node is known by is kept as well: the server would refuse another.
                assert mounts["/etc/rancher/node"]["RW"]
            assert await engine.containers(cluster.label) == []
            await reap(engine)
        listed = await engine.docker.volumes.list()
        try:
            assert volume in [v["Name"] for v in listed["Volumes"]]
            assert len(tokens) == 2
            assert len(set(tokens)) == 1
        finally:
            await (await engine.docker.volumes.get(volume)).delete()


async def test_what_a_crash_left_is_removed_by_the_next_start(
    start: Open, engine: Engine, tmp_path: Path
) -> None:
    """A process that is killed leaves containers and a network; whose they are is on them."""
    async with behind() as served:
        cluster = start(served)
        script = (
            "import asyncio, os, sys\n"
            "import pytest\n"
            f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from containers_world import docker\n"
            "from standin import as_privileged_as_here\n"
            "from cove.engines.cluster import ClusterOptions\n"
            "from cove.engines.select import open_cluster\n"
            "async def main():\n"
            "    async with docker() as engine:\n"
            "        await as_privileged_as_here(engine, pytest.MonkeyPatch())\n"
            f"    options = ClusterOptions(**{served.options!r})\n"
            "    async with open_cluster('k8s', options, engine='k3s', log=lambda line: None):\n"
            "        os._exit(9)\n"
            "asyncio.run(main())\n"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
        assert await process.wait() == 9
        left = await containers(engine, cluster)
        assert left["server"]["State"] == "running"

        # Whoever starts next, whatever it is called, cleans up.
        async with start(served, name="other"):
            assert await containers(engine, cluster) == {}
            assert await engine.networks(cluster.label) == []
        async with start(served) as again:
            assert (await again.health()).healthy
        assert await what_is_left(engine, again) == []


# -- the entrypoint, in the stand-in's image, for real


async def entrypoint_in(engine: Engine, script: str, **host: Any) -> tuple[int, str]:
    """What is written when the entrypoint has done its work and ``script`` is k3s."""
    name = f"cove-test-entrypoint-{os.getpid()}"
    config = {
        "Image": IMAGE,
        "Cmd": ["/bin/sh", "-c", script],
        "HostConfig": {"Privileged": True, "Init": True, **host},
    }
    return await run(engine, name, config)


def before_k3s(prepare: str, then: str) -> str:
    """The script run where ``prepare`` was done, with ``then`` in the place of k3s."""
    return (
        f"{prepare}\n"
        f"cat >/tmp/k3s <<'END'\n#!/bin/sh\n{then}\nEND\n"
        "chmod 755 /tmp/k3s\n"
        f"cat >/tmp/entrypoint <<'END'\n{entrypoint.SCRIPT}END\n"
        "chmod 755 /tmp/entrypoint\n"
        "PATH=/tmp:$PATH exec /tmp/entrypoint server\n"
    )


@pytest.fixture
def limits() -> Any:
    """The machine's limits, low at first and put back afterwards, where that may be done."""
    folder = Path("/proc/sys/fs/inotify")
    files = [folder / "max_user_instances", folder / "max_user_watches"]
    before = [file.read_text() for file in files]
    for file, text in zip(files, ("512", "524288"), strict=True):
        if os.access(file, os.W_OK):
            file.write_text(text)
    yield files
    for file, text in zip(files, before, strict=True):
        if os.access(file, os.W_OK):
            file.write_text(text)


async def test_the_entrypoint_shares_the_root_raises_limits_and_becomes_k3s(
    engine: Engine, limits: list[Path]
) -> None:
    then = "echo $$ $PPID $*; sed -n 1p /proc/self/mountinfo; cat /proc/sys/fs/inotify/max_user_*"
    code, out = await entrypoint_in(engine, before_k3s("", then))

    assert code == 0, out
    process, root, *values = out.splitlines()
    assert process.endswith("1 server"), "k3s is what the init started: the shell is gone"
    assert " / / " in root
    assert " shared:" in root
    assert int(values[0]) >= 1024
    assert int(values[1]) >= 1048576


async def test_the_entrypoint_leaves_greater_limits_as_they_are(
    engine: Engine, limits: list[Path]
) -> None:
    if not os.access(limits[0], os.W_OK):
        pytest.skip("the machine's limits cannot be changed here")
    limits[0].write_text("4096")

    code, out = await entrypoint_in(
        engine, before_k3s("", "cat /proc/sys/fs/inotify/max_user_instances")
    )

    assert (code, out.split()) == (0, ["4096"])


async def test_in_a_cgroup_namespace_of_its_own_the_root_group_is_emptied(
    engine: Engine, limits: list[Path]
) -> None:
    """cgroup v2 for real, mounted in the container where the machine is of the first version."""
    prepare = (
        "if [ ! -e /sys/fs/cgroup/cgroup.procs ]; then\n"
        "  mount -t cgroup2 none /sys/fs/cgroup || { echo no cgroup v2; exit 0; }\n"
        "fi"
    )
    then = (
        "echo root: $(cat /sys/fs/cgroup/cgroup.procs)\n"
        "echo moved: $(cat /sys/fs/cgroup/cove/cgroup.procs)\n"
        "echo type: $(cat /sys/fs/cgroup/cgroup.type)"
    )
    code, out = await entrypoint_in(engine, before_k3s(prepare, then), CgroupnsMode="private")

    if "no cgroup v2" in out:
        pytest.skip("there is no cgroup v2")
    assert code == 0, out
    told = dict(line.split(":", 1) for line in out.splitlines())
    assert told["root"].strip() == "", out
    assert "1" in told["moved"].split()


async def test_controllers_are_handed_on_and_the_machines_own_root_is_not_touched(
    engine: Engine, limits: list[Path], tmp_path: Path
) -> None:
    """Ordinary files in the place of a group's, with and without ``cgroup.type``."""
    for own, expected in ((True, "+memory"), (False, "")):
        group = tmp_path / str(own)
        group.mkdir()
        (group / "cgroup.controllers").write_text("cpu memory\n")
        (group / "cgroup.procs").write_text("1\n7\n")
        (group / "cgroup.subtree_control").write_text("")
        if own:
            (group / "cgroup.type").write_text("domain\n")

        code, out = await entrypoint_in(
            engine, before_k3s("", "true"), Binds=[f"{group}:/sys/fs/cgroup:rw"]
        )

        assert code == 0, out
        assert (group / "cgroup.subtree_control").read_text().strip() == expected
        assert (group / "cove").exists() is own


async def test_a_client_is_an_administrators(start: Open) -> None:
    async with behind() as served, start(served) as cluster:
        body = {"metadata": {"name": "a", "namespace": "default"}}
        await cluster.client.create(CONFIG_MAPS, body)
        async with Client.connect(kubeconfig.load(str(cluster.kubeconfig_path))) as client:
            assert await client.get(CONFIG_MAPS, "a", "default")
