"""The embedded engine as a Cluster: for a session, and for longer."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from command import Cove, alive, gone

from cove.client import kubeconfig
from cove.engines.cluster import Cluster, ClusterOptions, OptionError
from cove.engines.home import ClusterFolder, HomeError, InvalidNameError
from cove.engines.local import SessionCluster, settings_of
from cove.engines.process import StartError, stop
from cove.engines.select import open_cluster
from cove.kube.gvk import GVR
from cove.kube.status import CoveError
from cove.node.docker import EngineError

CONFIG_MAPS = GVR("", "v1", "configmaps")
NODES = GVR("", "v1", "nodes")
Open = Callable[..., Cluster]


@pytest.fixture
def said() -> list[str]:
    """What the cluster has told its user."""
    return []


@pytest.fixture
def start(cove: Cove, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Open:
    """``start(**options)``: an embedded cluster called shop, in the command's home."""
    monkeypatch.setenv("COVE_HOME", str(cove.home))
    monkeypatch.delenv("COVE_ENGINE", raising=False)

    def make(name: str = "shop", **options: Any) -> Cluster:
        return open_cluster(name, ClusterOptions(**options), log=said.append)

    return make


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


# -- options


@pytest.mark.parametrize("version", [None, "1.36", "v1.36.0", "v1.36.0-k3s1", "1.36.2"])
def test_the_embedded_engine_is_the_version_it_is(version: str | None) -> None:
    assert settings_of(ClusterOptions(version=version, agents=2)).nodes == 3


@pytest.mark.parametrize("version", ["1.35", "v1.35.1-k3s1", "2.36", "latest", "1.360"])
def test_another_version_is_refused_with_the_engine_that_has_it(version: str) -> None:
    with pytest.raises(OptionError, match=re.escape(f'version "{version}"') + ".*take .* k3s"):
        settings_of(ClusterOptions(version=version))


def test_options_become_the_settings_of_the_embedded_engine() -> None:
    settings = settings_of(
        ClusterOptions(
            agents=2,
            api_port=7443,
            pod_subnet="10.50.0.0/16",
            service_subnet="10.60.0.0/16",
            disable=("traefik",),
            domains=("shop.test",),
            mirrors={"docker.io": "https://mirror.test"},
            container_engine="podman",
        )
    )

    assert (settings.nodes, settings.port) == (3, 7443)
    assert (settings.pod_subnet, settings.service_subnet) == ("10.50.0.0/16", "10.60.0.0/16")
    assert (settings.ingress, settings.registry) == (False, True)
    assert settings.domains == ("shop.test",)
    assert settings.mirrors == ("docker.io=https://mirror.test",)
    assert settings.container_engine == "podman"


def test_objects_are_kept_where_somebody_wants_them() -> None:
    def in_memory(**options: Any) -> bool:
        return settings_of(ClusterOptions(**options)).in_memory

    assert in_memory()
    assert not in_memory(data_volume="")
    assert not in_memory(data_volume="orders")
    assert not in_memory(lifetime="persistent")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"disable": ("coredns",)}, "it knows ingress, traefik, registry"),
        ({"extra_args": ("--debug",)}, "has no command line to put them on"),
    ],
)
def test_what_the_embedded_engine_cannot_do_is_refused_when_it_is_asked_for(
    start: Open, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        start(**options)


def test_a_name_that_is_none_is_refused_when_it_is_given(start: Open) -> None:
    with pytest.raises(InvalidNameError):
        start("My Cluster")


# -- a session


async def test_a_session_serves_and_is_seen_by_the_command(start: Open, cove: Cove) -> None:
    async with start(agents=1) as cluster:
        nodes = await cluster.client.list(NODES)
        row = await asyncio.to_thread(cove.status, "shop")
        seen = await asyncio.to_thread(cove.kubectl, "get", "nodes", "-o", "name", name="shop")
        health = await cluster.health()

        assert len(nodes.items) == 2
        assert (row["state"], row["pid"]) == ("running", os.getpid())
        assert len(seen.split()) == 2
        assert health.healthy
        assert health.reason == ""
        assert cluster.url == kubeconfig.load(str(cluster.kubeconfig_path)).server
        assert cluster.url.startswith("https://127.0.0.1:")
        assert cluster.properties["pods"] == "simulated"
        assert cluster.addresses == {}
        cluster.folder.write("containers.json", b'{"addresses": {"http": "127.0.0.1:1"}}')
        assert cluster.addresses == {"http": "127.0.0.1:1"}
    assert not cove.folder("shop").exists()


async def test_the_folder_of_a_session_is_its_users_alone(start: Open) -> None:
    async with start() as cluster:
        folder = cluster.kubeconfig_path.parent

        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(cluster.kubeconfig_path.stat().st_mode) == 0o600


async def test_objects_are_kept_for_the_next_session_if_asked_to(start: Open) -> None:
    for volume in ("", "orders"):
        async with start(data_volume=volume) as cluster:
            await cluster.client.create(CONFIG_MAPS, config_map("kept"))
        async with start(data_volume=volume) as cluster:
            assert await cluster.client.get(CONFIG_MAPS, "kept", "default")
            await cluster.client.delete(CONFIG_MAPS, "kept", "default")
        ClusterFolder("shop").remove()


async def test_a_named_volume_goes_from_cluster_to_cluster_one_at_a_time(start: Open) -> None:
    async with start("one", data_volume="orders") as cluster:
        await cluster.client.create(CONFIG_MAPS, config_map("kept"))
        with pytest.raises(HomeError, match=r"orders\.db is in use by another cluster"):
            async with start("two", data_volume="orders"):
                pass
    async with start("two", data_volume="orders") as cluster:
        assert await cluster.client.get(CONFIG_MAPS, "kept", "default")


async def test_a_kept_cluster_is_neither_shadowed_nor_removed_by_a_session(
    start: Open, cove: Cove
) -> None:
    async with start(data_volume="") as cluster:
        await cluster.client.create(CONFIG_MAPS, config_map("kept"))

    with pytest.raises(OptionError, match=r"is kept in .*`cove reset -n shop`"):
        async with start():
            pass

    assert ClusterFolder("shop").store.exists()


async def test_two_sessions_of_one_name_are_told_apart(start: Open) -> None:
    async with start() as first:
        with pytest.raises(OptionError, match=rf"running already \(pid {os.getpid()}\)"):
            async with start():
                pass
        assert (await first.health()).healthy


async def test_what_a_crashed_session_left_is_taken_over(start: Open, cove: Cove) -> None:
    script = (
        "import asyncio, os\n"
        "from cove.engines.cluster import ClusterOptions\n"
        "from cove.engines.select import open_cluster\n"
        "async def main():\n"
        "    async with open_cluster('shop', ClusterOptions(), log=print):\n"
        "        os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=cove.environment()
    )
    assert await process.wait() == 9
    assert cove.folder("shop").exists()

    async with start() as cluster:
        assert (await cluster.health()).healthy
    assert not cove.folder("shop").exists()


async def test_a_session_that_does_not_start_leaves_nothing(start: Open, cove: Cove) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CoveError, match=f"port {port} of 127.0.0.1 is in use"):
            async with start(api_port=port):
                pass

    assert not cove.folder("shop").exists()


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 16])
async def test_who_is_cancelled_while_a_session_starts_leaves_nothing(
    start: Open, cove: Cove, turns: int
) -> None:
    before = _open_files()
    tasks = len(asyncio.all_tasks())
    entering = asyncio.ensure_future(start().__aenter__())
    for _ in range(turns):
        await asyncio.sleep(0)

    entering.cancel()
    async with asyncio.timeout(5):
        try:
            cluster = await entering
        except asyncio.CancelledError:
            pass
        else:  # it was faster
            await cluster.__aexit__(None, None, None)

    assert not cove.folder("shop").exists()
    assert (_open_files(), len(asyncio.all_tasks())) == (before, tasks)


async def test_health_tells_which_nodes_are_missing(start: Open) -> None:
    async with start(agents=1) as cluster:
        nodes = (await cluster.client.list(NODES)).items
        name = nodes[0]["metadata"]["name"]
        assert isinstance(cluster, SessionCluster)
        cluster.options = replace(cluster.options, agents=2)

        health = await cluster.health()
        with cluster.embedded.faults.error(503, verbs="list"):
            refused = await cluster.health()

        assert not health.healthy
        assert health.reason == "2 of 3 nodes ready: 1 has not registered yet"
        assert name
        assert refused.reason.startswith("the API server answers 503")


# -- a persistent cluster


async def test_a_persistent_cluster_outlives_who_started_it(
    start: Open, cove: Cove, said: list[str]
) -> None:
    async with start(lifetime="persistent", agents=1) as cluster:
        await cluster.client.create(CONFIG_MAPS, config_map("kept"))
        pid = cove.pid("shop")
    assert alive(pid)

    async with start(lifetime="persistent", agents=1) as cluster:
        assert await cluster.client.get(CONFIG_MAPS, "kept", "default")
        assert cove.pid("shop") == pid
        assert (await cluster.health()).healthy
    assert said == [f"the cluster shop is running already (pid {pid})"]


async def test_options_that_differ_from_a_running_cluster_are_named(
    start: Open, said: list[str]
) -> None:
    async with start(lifetime="persistent"):
        pass
    async with start(
        lifetime="persistent", agents=2, domains=("shop.test",), disable=("ingress",)
    ) as cluster:
        health = await cluster.health()

    assert said[0] == (
        "the cluster shop goes on as it was started: agents is 0, not 2; ingress is on, not "
        "off; domains is none, not shop.test. `cove down -n shop`, then start it again, to "
        "change that"
    )
    assert health.reason == "1 of 3 nodes ready: 2 have not registered yet"


async def test_a_stopped_persistent_cluster_starts_with_its_objects(start: Open) -> None:
    async with start(lifetime="persistent") as cluster:
        await cluster.client.create(CONFIG_MAPS, config_map("kept"))
    await asyncio.to_thread(stop, "shop")

    async with start(lifetime="persistent", agents=1) as cluster:
        assert await cluster.client.get(CONFIG_MAPS, "kept", "default")
        assert len((await cluster.client.list(NODES)).items) == 2


async def test_a_persistent_cluster_that_cannot_start_says_why(start: Open) -> None:
    with pytest.raises(StartError, match=r'"10\.0\.0\.0/99" is not a subnet'):
        async with start(lifetime="persistent", service_subnet="10.0.0.0/99"):
            pass


async def test_who_is_cancelled_while_the_process_starts_leaves_none(
    start: Open, cove: Cove, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cove.engines import local

    begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    real = local.start

    def watched(name: str, settings: Any, *, began: Callable[[Any], None]) -> Any:
        def both(process: Any) -> None:
            began(process)
            handle = os.pidfd_open(process.pid)
            loop.call_soon_threadsafe(begun.set_result, handle)

        return real(name, settings, began=both)

    monkeypatch.setattr(local, "start", watched)
    entering = asyncio.ensure_future(start(lifetime="persistent").__aenter__())
    handle = await begun

    entering.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await entering

    await asyncio.to_thread(gone, handle)
    os.close(handle)
    assert ClusterFolder("shop").serving() is None


# -- containers


async def test_without_an_engine_only_containers_are_refused(start: Open) -> None:
    async with start() as cluster:
        with pytest.raises(EngineError, match="containers cannot reach the cluster shop: there is"):
            await cluster.container_kubeconfig("any")
        assert (await cluster.health()).healthy
        assert cluster.container_networks == ()


# -- nothing leaks


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_ten_thousand_health_ticks_leak_nothing(start: Open) -> None:
    async with start(agents=1) as cluster:
        assert isinstance(cluster, SessionCluster)
        server = cluster.embedded.server._server
        assert server is not None
        for _ in range(10):
            assert (await cluster.health()).healthy
        before = (_open_files(), len(asyncio.all_tasks()), len(server.connections))

        for _ in range(10_000):
            health = await cluster.health()
            assert health.healthy

        assert (_open_files(), len(asyncio.all_tasks()), len(server.connections)) == before


async def test_a_server_that_says_no_leaks_nothing_either(start: Open) -> None:
    async with start() as cluster:
        assert isinstance(cluster, SessionCluster)
        with cluster.embedded.faults.error(500, verbs="list"):
            for _ in range(10):
                await cluster.health()
            before = (_open_files(), len(asyncio.all_tasks()))
            for _ in range(2_000):
                assert not (await cluster.health()).healthy
        after = (_open_files(), len(asyncio.all_tasks()))

    assert after == before
