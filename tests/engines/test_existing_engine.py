"""Clusters that are there already: only those that were allowed, and nothing of them changed."""

from __future__ import annotations

import asyncio
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers_world import docker, kubectl_inside, network

from cove.client import kubeconfig
from cove.client.errors import KubeconfigError, UnreachableError
from cove.engines.cluster import ClusterOptions
from cove.engines.door import DoorError
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.engines.existing import ExistingCluster, NotAllowedError, loopback, standalone
from cove.engines.select import open_cluster
from cove.kube.gvk import GVR
from cove.node.docker import EngineError

CONFIG_MAPS = GVR("", "v1", "configmaps")
Doc = dict[str, Any]
Open = Callable[..., ExistingCluster]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def config(api: EmbeddedCluster, tmp_path: Path) -> Path:
    """A user's kubeconfig: two contexts, credentials in files beside it."""
    doc = yaml.safe_load(api.kubeconfig)
    user, cluster = doc["users"][0]["user"], doc["clusters"][0]["cluster"]
    folder = tmp_path / "user"
    folder.mkdir()
    for name, data in (
        ("ca.pem", cluster["certificate-authority-data"]),
        ("me.pem", user["client-certificate-data"]),
        ("me.key", user["client-key-data"]),
    ):
        (folder / name).write_bytes(b64decode(data))
    mine = {"certificate-authority": "ca.pem", "server": api.url}
    remote = {**mine, "server": "https://api.prod.test:6443"}
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": mine}, {"name": "r", "cluster": remote}],
        "users": [
            {"name": "me", "user": {"client-certificate": "me.pem", "client-key": "me.key"}},
            {"name": "other", "user": {"token": "secret"}},
        ],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "me", "namespace": "mine"}},
            {"name": "prod us", "context": {"cluster": "r", "user": "me"}},
        ],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(whole))
    return path


@pytest.fixture
def start(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Open:
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COVE_ALLOW_CONTEXTS", raising=False)

    def make(**options: Any) -> ExistingCluster:
        options = {"kubeconfig": config, **options}
        found = open_cluster("shop", ClusterOptions(**options), engine="existing", log=said.append)
        assert isinstance(found, ExistingCluster)
        return found

    return make


# -- the session's own kubeconfig


async def test_a_context_of_this_machine_is_used_as_it_is(
    start: Open, api: EmbeddedCluster
) -> None:
    async with start() as cluster:
        made = await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")

        assert cluster.url == api.url
        assert cluster.context == "here"
        assert cluster.properties["version"].startswith("v1.36")
        assert made["metadata"]["uid"]
    assert await api.client.get(CONFIG_MAPS, "a", "default"), "nothing is deleted when it is left"


async def test_programs_get_that_context_alone_and_need_no_other_file(
    start: Open, config: Path
) -> None:
    before = config.read_bytes()
    async with start() as cluster:
        path = cluster.kubeconfig_path
        doc = yaml.safe_load(path.read_text())

        assert [c["name"] for c in doc["contexts"]] == ["here"]
        assert doc["contexts"][0]["context"]["namespace"] == "mine"
        assert [len(doc[key]) for key in ("clusters", "users")] == [1, 1]
        assert set(doc["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
        assert "secret" not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
        connection = kubeconfig.load(str(path))
        assert connection.ca == (config.parent / "ca.pem").read_bytes()
    assert config.read_bytes() == before
    assert not path.parent.parent.exists(), "copies of credentials end with the session"


async def test_what_a_crashed_session_left_is_removed_and_what_another_uses_is_not(
    start: Open, tmp_path: Path
) -> None:
    left = tmp_path / "home" / "existing" / "shop-left"
    left.mkdir(parents=True)
    (left / ".lock").touch()

    async with start() as one, start() as other:
        assert not left.exists()
        assert one.kubeconfig_path.exists()
        assert one.kubeconfig_path != other.kubeconfig_path


def test_files_that_change_and_plugins_are_named_by_their_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [
            {"name": "c", "user": {"tokenFile": "token", "exec": {"command": "./bin/login"}}}
        ],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(doc))
    monkeypatch.chdir(tmp_path)

    user = standalone(kubeconfig.read([Path("config")]), None)["users"][0]["user"]

    assert user["tokenFile"] == str(tmp_path / "token")
    assert user["exec"]["command"] == str(tmp_path / "bin" / "login")


# -- what is allowed


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://127.0.0.1:6443", True),
        ("https://127.8.9.1:6443", True),
        ("https://[::1]:6443", True),
        ("https://localhost", True),
        ("https://k.localhost:1", True),
        ("https://localhost.prod.test", False),
        ("https://10.0.0.1:6443", False),
        ("https://0.0.0.0:6443", False),
        ("https://127.0.0.1.prod.test", False),
    ],
)
def test_what_this_machine_is(url: str, expected: bool) -> None:
    assert loopback(url) is expected


async def test_a_context_beyond_this_machine_is_refused_with_what_allows_it(
    start: Open, tmp_path: Path
) -> None:
    with pytest.raises(NotAllowedError) as refused:
        async with start(context="prod us"):
            pass

    text = str(refused.value)
    assert 'the context "prod us" leads to https://api.prod.test:6443' in text
    assert "`export COVE_ALLOW_CONTEXTS='prod us'`" in text
    command = text.rpartition("for good, `")[2].removesuffix("`")
    process = await asyncio.create_subprocess_shell(command)
    assert await process.wait() == 0
    with pytest.raises(UnreachableError, match=r"api\.prod\.test"):
        async with start(context="prod us"):
            pass


async def test_the_variable_allows_contexts_by_their_whole_names(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_ALLOW_CONTEXTS", "prod, us")
    with pytest.raises(NotAllowedError):
        async with start(context="prod us"):
            pass
    monkeypatch.setenv("COVE_ALLOW_CONTEXTS", "other, prod us")
    with pytest.raises(UnreachableError):
        async with start(context="prod us"):
            pass


async def test_a_server_behind_a_proxy_is_not_taken_for_this_machine(
    start: Open, config: Path
) -> None:
    doc = yaml.safe_load(config.read_text())
    doc["clusters"][0]["cluster"]["proxy-url"] = "http://proxy.prod.test:3128"
    config.write_text(yaml.safe_dump(doc))

    with pytest.raises(NotAllowedError):
        async with start():
            pass


async def test_an_unknown_context_is_refused_with_those_there_are(start: Open) -> None:
    with pytest.raises(KubeconfigError, match='none is called "x"; there are: here, prod us'):
        async with start(context="x"):
            pass


async def test_options_that_make_a_cluster_are_named_as_not_followed(
    start: Open, said: list[str]
) -> None:
    async with start(agents=2, disable=("traefik",), version="v1.35.0-k3s1"):
        pass
    async with start(version="1.36"):
        pass

    assert said == [
        "the cluster of the context here is there already: agents, disable are as they are there",
        "the cluster of the context here is Kubernetes v1.36.2+cove, not v1.35.0-k3s1",
    ]


# -- health


async def test_health_of_a_cluster_whose_nodes_one_may_not_see_is_the_servers(
    start: Open, config: Path, api: EmbeddedCluster
) -> None:
    pair = api.authority.client("nobody")
    (config.parent / "me.pem").write_bytes(pair.certificate)
    (config.parent / "me.key").write_bytes(pair.key)

    async with start() as cluster:
        health = await cluster.health()

    assert health.healthy


async def test_a_cluster_without_nodes_is_not_healthy(start: Open) -> None:
    async with start() as cluster:
        health = await cluster.health()

    assert (health.healthy, health.reason) == (
        False,
        "the API server answers; none of 1 nodes has registered yet",
    )


# -- containers


async def test_a_server_that_containers_reach_is_given_to_them_as_it_is(
    config: Path, api: EmbeddedCluster, start: Open
) -> None:
    async with start() as cluster:
        cluster._doc["clusters"][0]["cluster"]["server"] = "https://api.prod.test:6443"

        folder = await cluster.container_kubeconfig("net")

        doc = yaml.safe_load((folder / "kubeconfig.yaml").read_text())
        assert doc["clusters"][0]["cluster"]["server"] == "https://api.prod.test:6443"


async def test_containers_are_not_given_a_plugin_they_do_not_have(start: Open) -> None:
    async with start() as cluster:
        cluster._doc["users"][0]["user"] = {"exec": {"command": "aws"}}

        with pytest.raises(DoorError, match="authenticated by a plugin"):
            await cluster.container_kubeconfig("net")


async def test_a_token_file_is_read_for_containers(start: Open, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    async with start() as cluster:
        cluster._doc["clusters"][0]["cluster"]["server"] = "https://api.prod.test:6443"
        cluster._doc["users"][0]["user"] = {"tokenFile": str(tmp_path / "token")}

        folder = await cluster.container_kubeconfig("net")

        doc = yaml.safe_load((folder / "kubeconfig.yaml").read_text())
        assert doc["users"][0]["user"] == {"token": "abc"}


async def test_without_an_engine_containers_are_told_why_they_cannot(start: Open) -> None:
    async with start() as cluster:
        with pytest.raises(EngineError, match=r"listens on 127\.0\.0\.1:\d+ of this machine alone"):
            await cluster.container_kubeconfig("net")


@pytest.fixture
async def net() -> AsyncIterator[str]:
    async with docker() as engine, network(engine, f"cove-test-existing-{os.getpid()}") as name:
        yield name


@pytest.mark.requires("docker", "kubectl")
async def test_a_container_reaches_a_server_on_loopback_and_verifies_its_own_name(
    start: Open, config: Path, net: str
) -> None:
    """A fork's address has a path, which the relay's keeps; the certificate is the server's."""
    async with (
        embedded(nodes=1) as other,
        other.fork(controllers=False) as fork,
        docker() as engine,
    ):
        config.write_text(fork.kubeconfig)
        async with start(container_engine="docker") as cluster:
            folder = await cluster.container_kubeconfig(net)
            doc = yaml.safe_load((folder / "kubeconfig.yaml").read_text())
            code, out = await kubectl_inside(engine, folder, net, "get", "nodes", "-o", "name")
            entry = doc["clusters"][0]["cluster"]
            wrong = {**entry, "tls-server-name": "somebody.else"}
            doc["clusters"][0]["cluster"] = wrong
            (folder / "kubeconfig.yaml").write_text(yaml.safe_dump(doc))
            refused, why = await kubectl_inside(engine, folder, net, "get", "nodes")

    assert (code, len(out.split())) == (0, 1), out
    assert entry["server"].startswith("https://host.docker.internal:")
    assert entry["server"].endswith(f"/forks/{fork.id}")
    assert entry["tls-server-name"] == "127.0.0.1"
    assert "insecure-skip-tls-verify" not in entry
    assert refused != 0
    assert "certificate" in why


def test_inline_data_wins_over_a_file(tmp_path: Path) -> None:
    data = b64encode(b"inline").decode()
    entry = {"server": "https://127.0.0.1:1", "certificate-authority": "/nowhere"}
    doc = {
        "clusters": [{"name": "c", "cluster": {**entry, "certificate-authority-data": data}}],
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(doc))

    made = standalone(kubeconfig.read([file]), "c")

    assert made["clusters"][0]["cluster"]["certificate-authority-data"] == data
    assert "certificate-authority" not in made["clusters"][0]["cluster"]
