"""`cove up` on other engines than the embedded one: clusters that no process of cove's serves.

k3s is the stand-in's image; see standin.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import Cove
from k3s_world import Open, containers
from standin import IMAGE, Behind, behind

from cove.client import Client, kubeconfig
from cove.engines.attached import Given, attached, engine_of, every, reset, start, state, stop
from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.embedded import embedded
from cove.engines.k3s import K3sCluster, K3sError
from cove.kube.gvk import GVR
from cove.node.docker.connection import Engine

NODES = GVR("", "v1", "nodes")
NAME = "k8s"


def given(served: Behind, **options: Any) -> Given:
    """What a command is told to have the stand-in."""
    return Given(
        images=(f"server={IMAGE}",),
        extra_args=served.options["extra_args"],
        container_engine="docker",
        **options,
    )


@asynccontextmanager
async def kept(served: Behind, engine: Engine, said: list[str]) -> AsyncIterator[K3sCluster]:
    """What of it is there to be looked at; all of it is removed afterwards."""
    cluster = K3sCluster(NAME, ClusterOptions(), log=said.append)
    served.place(cluster.variants.folder)
    try:
        yield cluster
    finally:
        found = attached(NAME)
        if found is not None:
            await reset(found)


# -- k3s


@pytest.mark.requires("docker")
async def test_a_k3s_cluster_is_started_adopted_stopped_and_started_again(
    start_home: Open, engine: Engine, said: list[str]
) -> None:
    async with behind() as served, kept(served, engine, said) as cluster:
        assert not await start(NAME, "k3s", given(served), said.append)
        first = await containers(engine, cluster)
        found = attached(NAME)
        assert found is not None
        async with Client.connect(kubeconfig.load(str(found.kubeconfig))) as client:
            assert len((await client.list(NODES)).items) == 1
        assert await state(found) == ("running", "")

        # Adopted: nothing is said again, what is not given is as it was.
        assert await start(NAME, "k3s", Given(), said.append)
        second = await containers(engine, cluster)
        assert second["server"]["Id"] == first["server"]["Id"]

        assert await stop(found)
        assert not await stop(found)
        assert await state(found) == ("stopped", "")
        assert not await start(NAME, "k3s", Given(), said.append)
        third = await containers(engine, cluster)
        assert third["server"]["Id"] == first["server"]["Id"]
        assert await state(found) == ("running", "")


@pytest.mark.requires("docker")
async def test_another_option_is_told_and_the_objects_stay(
    start_home: Open, engine: Engine, said: list[str]
) -> None:
    async with behind() as served, kept(served, engine, said):
        await start(NAME, "k3s", given(served), said.append)
        said.clear()

        await start(NAME, "k3s", Given(pod_subnet="10.50.0.0/16"), said.append)

        [line] = [line for line in said if "made anew" in line]
        assert "without its objects" not in line
        assert "pod_subnet was 10.42.0.0/16, is 10.50.0.0/16" in line
        found = attached(NAME)
        assert found is not None
        assert found.given.pod_subnet == "10.50.0.0/16"


@pytest.mark.requires("docker")
async def test_reset_leaves_nothing_of_it(
    start_home: Open, engine: Engine, said: list[str], tmp_path: Path
) -> None:
    async with behind() as served, kept(served, engine, said) as cluster:
        await start(NAME, "k3s", given(served), said.append)
        found = attached(NAME)
        assert found is not None

        await reset(found)

        assert every() == []
        assert await engine.containers(cluster.label) == []
        assert await engine.networks(cluster.label) == []
        volumes = await engine.docker.volumes.list()
        assert cluster.own_volume not in [v["Name"] for v in volumes["Volumes"] or ()]
        left = [p for p in (tmp_path / "home").rglob("*") if p.is_file() and p.stat().st_size]
        assert left == []


@pytest.mark.requires("docker")
async def test_a_sessions_cluster_is_listed_and_not_to_be_stopped_by_others(
    start: Any, engine: Engine
) -> None:
    async with behind() as served, start(served):
        [found] = every()
        assert (found.name, found.engine) == (NAME, "k3s")
        assert await state(found) == ("running", "")
        with pytest.raises(OptionError, match="is of a session of process"):
            await stop(found)
        with pytest.raises(OptionError, match="is of a session of process"):
            await reset(found)
        assert await state(found) == ("running", "")


@pytest.mark.requires("docker")
async def test_a_server_that_was_killed_is_stopped_and_one_without_an_agent_is_told(
    start_home: Open, engine: Engine, said: list[str]
) -> None:
    async with behind(nodes=2) as served, kept(served, engine, said) as cluster:
        await start(NAME, "k3s", given(served, agents=1), said.append)
        found = attached(NAME)
        assert found is not None
        parts = await containers(engine, cluster)

        await engine.kill(parts["agent-0"]["Id"])
        await engine.ended(parts["agent-0"]["Id"])
        how, why = await state(found)
        assert (how, "agent-0 ended" in why) == ("running", True)
        await engine.kill(parts["server"]["Id"])
        await engine.ended(parts["server"]["Id"])
        assert await state(found) == ("stopped", "")


class Crashed(BaseException):
    """The process is gone at this point: nobody tidies up."""


@pytest.mark.requires("docker")
@pytest.mark.parametrize("moment", ["create_network", "put", "start"])
async def test_what_a_crash_left_half_made_is_resumed(
    start_home: Open,
    engine: Engine,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    async def crash(*_: Any, **__: Any) -> None:
        raise Crashed

    async def nothing(*_: Any) -> None:
        return None

    async with behind() as served, kept(served, engine, said) as cluster:
        with monkeypatch.context() as patch:
            patch.setattr(Engine, moment, crash)
            patch.setattr(K3sCluster, "_give_up", nothing)
            patch.setattr("cove.engines.attached.shutil.rmtree", lambda *_, **__: None)
            with pytest.raises(Crashed):
                await start(NAME, "k3s", given(served), said.append)
        [left] = every()
        assert (left.name, (await state(left))[0]) == (NAME, "stopped")

        await start(NAME, "k3s", Given(), said.append)

        assert await state(left) == ("running", "")
        assert len(await engine.containers(cluster.label)) == 1
        assert len(await engine.networks(cluster.label)) == 1


@pytest.mark.requires("docker")
async def test_a_start_that_fails_leaves_no_name_behind(
    start_home: Open, engine: Engine, said: list[str]
) -> None:
    with pytest.raises(K3sError, match="could not be fetched"):
        await start(
            NAME,
            "k3s",
            Given(images=("server=127.0.0.1:1/k3s:v1",), container_engine="docker"),
            said.append,
        )

    assert every() == []


@pytest.fixture
def start_home(start: Any) -> Any:
    """The home that ``start`` of k3s clusters has, for those that are not started by it."""
    return start


# -- names


async def test_a_name_is_one_clusters_whatever_the_engine(
    cove: Cove, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVE_HOME", str(cove.home))
    folder = cove.home / "k3s" / "taken"
    folder.mkdir(parents=True)

    assert engine_of("taken", None) == "k3s"
    assert engine_of("new", None) == "embedded"
    assert engine_of("new", "existing") == "existing"
    with pytest.raises(OptionError, match=r'"taken" is of the engine k3s, not existing'):
        engine_of("taken", "existing")


# -- existing


def written(cove: Cove, config: str) -> Path:
    path = cove.home.parent / "config"
    doc = yaml.safe_load(config)
    path.write_text(yaml.safe_dump(doc))
    return path


async def test_an_existing_cluster_is_given_a_name_used_and_forgotten(cove: Cove) -> None:
    async with embedded() as cluster:
        config = written(cove, cluster.kubeconfig)
        env = {"KUBECONFIG": str(config)}
        import asyncio

        async def run(*arguments: str) -> Any:
            return await asyncio.to_thread(cove.attempt, *arguments, **env)

        first = await run("up", "--engine", "existing", "-n", "team")
        again = await run("up", "-n", "team")
        status = await run("status", "-o", "json")
        shown = await run("kubeconfig", "-n", "team")
        variables = await run("env", "-n", "team")
        down = await run("down", "-n", "team")
        after = await run("status", "-o", "json")

    assert first.code == 0, first.err
    assert "cluster team (existing) is up" in first.err
    assert "was there already" in again.err
    [row] = json.loads(status.out)
    assert (row["name"], row["engine"], row["state"]) == ("team", "existing", "running")
    assert row["nodes"] == "1/1"
    path = Path(shown.out.strip())
    assert f"export KUBECONFIG={path}" in variables.out
    assert "the cluster itself is as it was" in down.err
    assert json.loads(after.out) == []
    assert not path.exists()


def test_a_context_beyond_this_machine_is_not_attached_unasked(cove: Cove) -> None:
    doc = {
        "clusters": [{"name": "c", "cluster": {"server": "https://prod.example:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "prod",
    }
    config = written(cove, yaml.safe_dump(doc))

    done = cove.attempt("up", "--engine", "existing", KUBECONFIG=str(config))

    assert done.code == 1
    assert 'the context "prod" leads to https://prod.example:6443' in done.err
    assert "export COVE_ALLOW_CONTEXTS=prod" in done.err
    assert not (cove.home / "attached").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--history", "5", "--engine", "k3s"], "--history"),
        (["--nodes", "0", "--engine", "k3s"], "a server is a node"),
        (["--extra-arg=--debug"], "--extra-arg"),
        (["--kubernetes", "1.35.2"], "--kubernetes"),
        (["--image", "server", "--engine", "k3s"], "is not ROLE=IMAGE"),
        (["--engine", "minikube"], "is no engine"),
    ],
)
def test_options_of_another_engine_are_refused_by_name(
    cove: Cove, arguments: list[str], said: str
) -> None:
    done = cove.attempt("up", *arguments)

    assert done.code in (1, 2)
    assert said in done.err
    assert not (cove.home / "clusters" / "cove").exists()


def test_without_a_container_engine_k3s_says_what_it_takes(cove: Cove) -> None:
    done = cove.attempt("up", "--engine", "k3s")

    assert done.code == 1
    assert "the k3s cluster cove: there is no container engine" in done.err
    assert "start Docker or Podman" in done.err
    assert not (cove.home / "k3s" / "cove").exists()
