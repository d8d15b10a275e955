"""A cluster in this process and its forks: isolated, whole, and gone when left."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from command import BIN

import cove
from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster, Running
from cove.engines.home import ClusterFolder, Settings
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError

CONFIG_MAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
NAMESPACES = GVR("", "v1", "namespaces")
PODS = GVR("", "v1", "pods")


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]},
            },
        },
    }


async def names(of: Running, gvr: GVR = CONFIG_MAPS) -> set[str]:
    """Names in the default namespace, less what controllers put into every namespace."""
    listed = await of.client.list(gvr, "default")
    return {o["metadata"]["name"] for o in listed.items} - {"kube-root-ca.crt"}


async def until_ready(of: Running, name: str) -> dict[str, Any]:
    """Watch a Deployment until all its replicas are ready."""
    async with asyncio.timeout(20):
        listed = await of.client.list(DEPLOYMENTS, "default")
        known = {o["metadata"]["name"]: o for o in listed.items}
        async with of.client.watch(
            DEPLOYMENTS, "default", resource_version=listed.resource_version
        ) as events:
            while True:
                obj = known.get(name)
                if obj and obj["status"].get("readyReplicas", 0) == obj["spec"]["replicas"]:
                    return obj
                event = await anext(events)
                known[event.object["metadata"]["name"]] = event.object


# -- isolation


async def test_a_fork_and_its_cluster_do_not_see_each_other(api: EmbeddedCluster) -> None:
    await api.client.create(CONFIG_MAPS, config_map("shared", a="1"))

    async with api.fork() as fork:
        await api.client.create(CONFIG_MAPS, config_map("above"))
        await fork.client.create(CONFIG_MAPS, config_map("below"))
        await fork.client.patch(CONFIG_MAPS, "shared", {"data": {"a": "2"}}, "default")
        above = await api.client.get(CONFIG_MAPS, "shared", "default")
        below = await fork.client.get(CONFIG_MAPS, "shared", "default")

        assert await names(api) == {"shared", "above"}
        assert await names(fork) == {"shared", "below"}
        assert (above["data"], below["data"]) == ({"a": "1"}, {"a": "2"})
        assert above["metadata"]["uid"] == below["metadata"]["uid"]

        await fork.client.delete(CONFIG_MAPS, "shared", "default")
        assert await names(api) == {"shared", "above"}
    assert await names(api) == {"shared", "above"}


async def test_forks_of_one_cluster_do_not_see_each_other(api: EmbeddedCluster) -> None:
    async with api.fork() as one, api.fork() as other:
        await one.client.create(CONFIG_MAPS, config_map("one"))
        await other.client.create(CONFIG_MAPS, config_map("other"))

        assert one.url != other.url
        assert await names(one) == {"one"}
        assert await names(other) == {"other"}
        assert await names(api) == set()


async def test_a_fork_can_be_forked(api: EmbeddedCluster) -> None:
    async with api.fork() as fork:
        await fork.client.create(CONFIG_MAPS, config_map("first"))
        async with fork.fork() as second:
            await second.client.create(CONFIG_MAPS, config_map("second"))
            async with Client.connect(kubeconfig.load(str(second.kubeconfig_path))) as client:
                seen = await client.list(CONFIG_MAPS, "default")

            assert {o["metadata"]["name"] for o in seen.items} == {"first", "second"}
            assert await names(fork) == {"first"}
        assert await names(fork) == {"first"}
    assert await names(api) == set()


async def test_watches_of_a_fork_tell_of_the_fork_alone(api: EmbeddedCluster) -> None:
    async with api.fork() as fork:
        listed = await fork.client.list(CONFIG_MAPS, "default")
        async with fork.client.watch(
            CONFIG_MAPS, "default", resource_version=listed.resource_version
        ) as events:
            await api.client.create(CONFIG_MAPS, config_map("above"))
            await fork.client.create(CONFIG_MAPS, config_map("below"))
            event = await asyncio.wait_for(anext(events), 10)

    assert (event.type, event.object["metadata"]["name"]) == ("ADDED", "below")


async def test_custom_resources_of_a_fork_are_its_own(api: EmbeddedCluster) -> None:
    definitions = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    parrots = GVR("birds.test", "v1", "parrots")
    crd = {
        "metadata": {"name": "parrots.birds.test"},
        "spec": {
            "group": "birds.test",
            "scope": "Namespaced",
            "names": {"plural": "parrots", "kind": "Parrot"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    parrot = {
        "apiVersion": "birds.test/v1",
        "kind": "Parrot",
        "metadata": {"name": "polly", "namespace": "default"},
    }

    async with api.fork() as fork:
        await fork.client.create(definitions, crd)
        await fork.client.create(parrots, parrot)

        assert await names(fork, parrots) == {"polly"}
        with pytest.raises(StatusError) as error:
            await api.client.list(parrots, "default")
        assert error.value.code == 404
        assert await names(fork, parrots) == {"polly"}


# -- controllers and clients


async def test_controllers_of_a_fork_work_in_the_fork(cluster: EmbeddedCluster) -> None:
    async with cluster.fork() as fork:
        await fork.client.create(DEPLOYMENTS, deployment("web", 3))

        await until_ready(fork, "web")

        pods = (await fork.client.list(PODS, "default")).items
        assert [p["status"]["phase"] for p in pods] == ["Running"] * 3
        assert await names(cluster, DEPLOYMENTS) == set()
        assert await names(cluster, PODS) == set()


async def test_a_fork_of_a_busy_cluster_goes_on_from_there(cluster: EmbeddedCluster) -> None:
    await cluster.client.create(DEPLOYMENTS, deployment("web"))
    await until_ready(cluster, "web")

    async with cluster.fork() as fork:
        await fork.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 4}}, "default")
        ready = await until_ready(fork, "web")

        assert ready["status"]["readyReplicas"] == 4
        assert len(await names(cluster, PODS)) == 2


async def test_a_fork_without_controllers_stands_still(cluster: EmbeddedCluster) -> None:
    async with cluster.fork(controllers=False) as fork:
        await fork.client.create(DEPLOYMENTS, deployment("web"))
        await cluster.client.create(DEPLOYMENTS, deployment("web"))
        await until_ready(cluster, "web")

        assert await names(fork, PODS) == set()


@pytest.mark.requires("kubectl")
async def test_kubectl_works_on_a_fork(cluster: EmbeddedCluster) -> None:
    async def kubectl(path: Path, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(BIN / "kubectl"),
            "--kubeconfig",
            str(path),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async with cluster.fork() as fork:
        path = fork.kubeconfig_path
        await kubectl(path, "create", "deployment", "web", "--image=nginx")
        await kubectl(path, "rollout", "status", "deployment/web", "--timeout=20s")
        mine = await kubectl(path, "get", "deployments", "-o", "name")
        theirs = await kubectl(cluster.kubeconfig_path, "get", "deployments", "-o", "name")

    assert mine == "deployment.apps/web\n"
    assert theirs == ""
    assert not path.exists()


async def test_a_fork_that_was_left_is_not_found(api: EmbeddedCluster) -> None:
    async with api.fork() as fork:
        connection = kubeconfig.load(str(fork.kubeconfig_path))
        async with Client.connect(connection) as client:
            await client.version()

            await fork._stack.aclose()

            with pytest.raises(StatusError) as error:
                await client.list(CONFIG_MAPS)
            assert error.value.code == 404


async def test_leaving_a_fork_ends_its_watches(api: EmbeddedCluster) -> None:
    async def drain(events: AsyncIterator[Any]) -> list[Any]:
        return [event async for event in events]

    async with api.fork() as fork:
        async with Client.connect(kubeconfig.load(str(fork.kubeconfig_path))) as client:
            listed = await client.list(CONFIG_MAPS)
            version = listed.resource_version
            async with client.watch(CONFIG_MAPS, resource_version=version) as events:
                await fork._stack.aclose()
                left = await asyncio.wait_for(drain(events), 10)

    assert left == []


# -- nothing is left


def descriptors() -> dict[str, str]:
    """Open descriptors: sockets, pipes and files."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = os.readlink(entry)
        except FileNotFoundError:
            continue  # the one of the listing itself
    return found


def temporaries() -> set[str]:
    """Temporary files and folders; each test has a folder of its own for them."""
    return set(os.listdir(tempfile.gettempdir()))


@pytest.fixture(autouse=True)
def _temporaries(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporaries")))


@contextmanager
def nothing_left() -> Iterator[None]:
    """What is opened inside is closed at its end: tasks, sockets, threads, files."""
    gc.collect()
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    before, files = descriptors(), temporaries()
    yield
    gc.collect()
    assert asyncio.all_tasks() == tasks
    # The loop's own executor stays as long as the loop does.
    started = set(threading.enumerate()) - threads
    assert [t.name for t in started if not t.name.startswith("asyncio_")] == []
    # What the interpreter opens, /dev/urandom say, may stay: sockets and our files may not.
    left = {k: v for k, v in descriptors().items() if before.get(k) != v}
    assert not [v for v in left.values() if v.startswith("socket:") or "cove" in v], left
    assert temporaries() == files


@asynccontextmanager
async def watching(running: Running) -> AsyncIterator[None]:
    """Somebody holds a watch over HTTP open meanwhile."""
    async with (
        Client.connect(kubeconfig.load(str(running.kubeconfig_path))) as client,
        client.watch(CONFIG_MAPS),
    ):
        yield


async def test_leaving_a_cluster_closes_everything() -> None:
    async with cove.embedded(nodes=1):
        pass  # what is loaded and cached for the process's life is now

    with nothing_left():
        async with cove.embedded(nodes=2) as cluster:
            port = cluster.server.port
            await cluster.client.create(DEPLOYMENTS, deployment("web"))
            await until_ready(cluster, "web")
            async with watching(cluster), cluster.fork() as fork, watching(fork):
                await fork.client.create(CONFIG_MAPS, config_map("a"))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


async def test_leaving_a_cluster_closes_idle_connections() -> None:
    """A client that keeps a connection and does not read never says goodbye in TLS."""

    def connect(cluster: EmbeddedCluster) -> ssl.SSLSocket:
        tls = ssl.create_default_context(cadata=cluster.credentials.authority.decode())
        plain = socket.create_connection(("127.0.0.1", cluster.server.port))
        stream = tls.wrap_socket(plain, server_hostname="localhost")
        stream.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream.read(1)
        return stream

    with nothing_left():
        async with cove.embedded(nodes=0, controllers=False) as cluster:
            idle = await asyncio.to_thread(connect, cluster)
        idle.close()


async def test_leaving_a_cluster_does_not_wait_for_its_clients() -> None:
    async with cove.embedded(nodes=0, controllers=False) as cluster:
        connection = kubeconfig.load(str(cluster.kubeconfig_path))
    client = Client.connect(connection)
    try:
        async with cove.embedded(nodes=0, controllers=False, port=cluster.server.port):
            pass  # the port is free again at once
        with pytest.raises(CoveError, match="127"):
            await client.version()
    finally:
        await client.close()


async def test_leaving_a_fork_closes_everything(cluster: EmbeddedCluster) -> None:
    async with cluster.fork():
        pass

    with nothing_left():
        async with cluster.fork() as fork:
            await fork.client.create(DEPLOYMENTS, deployment("web"))
            await until_ready(fork, "web")
    assert cluster.server.forks == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"service_subnet": "ten"}, '--service-subnet "ten" is not a subnet'),
        ({"pod_subnet": "10.0.0.0/99"}, '--pod-subnet "10.0.0.0/99"'),
        ({"disable_admission": ["Nope"]}, 'no admission plugin "Nope"'),
    ],
    ids=["service-subnet", "pod-subnet", "admission"],
)
async def test_a_start_that_fails_leaves_nothing(options: dict[str, Any], message: str) -> None:
    with nothing_left():
        with pytest.raises(CoveError) as error:
            async with cove.embedded(**options):
                pass
    assert message in str(error.value)


async def test_a_taken_port_leaves_nothing(tmp_path: Path) -> None:
    folder = ClusterFolder("cove", tmp_path)
    folder.create()
    with socket.create_server(("127.0.0.1", 0)) as taken, nothing_left():
        port = taken.getsockname()[1]
        with pytest.raises(CoveError, match=f"port {port} of 127.0.0.1 is in use"):
            async with EmbeddedCluster("cove", Settings(port=port), folder=folder):
                pass

    async with EmbeddedCluster("cove", Settings(nodes=0), folder=folder, controllers=False):
        pass


async def test_a_controller_that_cannot_start_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cove.controllers import manager

    async with cove.embedded(nodes=1) as cluster:
        known = dict(manager.CONTROLLERS)
        monkeypatch.setitem(manager.CONTROLLERS, "broken", "nowhere:Broken")
        with nothing_left():
            with pytest.raises(ModuleNotFoundError):
                async with cluster.fork():
                    pass
        assert cluster.server.forks == {}
        assert known.keys() | {"broken"} == manager.CONTROLLERS.keys()
    with nothing_left():
        with pytest.raises(ModuleNotFoundError):
            async with cove.embedded(nodes=1):
                pass


async def test_two_clusters_in_one_process() -> None:
    async with (
        cove.embedded("one", nodes=0) as one,
        cove.embedded("two", nodes=0) as two,
    ):
        await one.client.create(NAMESPACES, {"metadata": {"name": "only"}})

        assert one.url != two.url
        with pytest.raises(StatusError) as error:
            await two.client.get(NAMESPACES, "only")
        assert error.value.code == 404


async def test_a_stranger_gets_nothing(api: EmbeddedCluster) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(api.url + "/version")
