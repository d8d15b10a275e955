"""One declaration on every engine: nothing above asks which one it is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from containers_world import docker, kubectl_inside, network
from standin import IMAGE, as_privileged_as_here, behind, make_standin

from cove.client import Client, kubeconfig
from cove.engines import existing
from cove.engines.cluster import Cluster, ClusterOptions
from cove.engines.select import open_cluster
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")
# What an application says; the engine comes from elsewhere.
DECLARED = ClusterOptions(
    agents=1, version="1.36", disable=("ingress",), container_engine="docker", domains=("a.test",)
)
Opened = Callable[[str], Any]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """``opened(engine)``: the declared cluster, entered, on that engine."""
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))

    @asynccontextmanager
    async def make(engine: str) -> AsyncIterator[Cluster]:
        monkeypatch.setenv("COVE_ENGINE", engine)
        options = DECLARED
        async with AsyncExitStack() as stack:
            if engine != "embedded":
                served = await stack.enter_async_context(behind(nodes=2))
            if engine == "k3s":
                found = await stack.enter_async_context(docker())
                if await found.image(IMAGE) is None:
                    await make_standin(found)
                await as_privileged_as_here(found, monkeypatch)
                options = dataclasses.replace(options, **served.options)
            cluster = open_cluster("k8s", options, log=lambda line: None)
            if engine == "k3s":
                served.place(cluster.kubeconfig_path.parent.parent)
            if engine == "existing":
                config = tmp_path / "config"
                config.write_text(served.cluster.kubeconfig)
                monkeypatch.setenv("KUBECONFIG", str(config))
            async with cluster:
                yield cluster

    return make


@pytest.mark.requires("docker", "kubectl")
@pytest.mark.parametrize("engine", ["embedded", "k3s", "existing"])
async def test_one_declaration_runs_on_every_engine(opened: Opened, engine: str) -> None:
    """k3s is the stand-in's image; see standin.py."""
    async with docker() as where, network(where, f"cove-test-every-{os.getpid()}") as own:
        async with opened(engine) as cluster:
            assert cluster.engine == engine
            assert (await cluster.health()).healthy
            await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
            connection = kubeconfig.load(str(cluster.kubeconfig_path))
            async with Client.connect(connection) as client:
                assert await client.get(CONFIG_MAPS, "a", "default")

            [net] = cluster.container_networks or (own,)
            folder = await cluster.container_kubeconfig(net)
            code, out = await kubectl_inside(where, folder, net, "get", "configmap", "a")
            assert code == 0, out


def test_an_existing_cluster_says_something_of_every_option() -> None:
    """Those that make a cluster are told; the others choose it, or what runs beside it."""
    fields = {field.name for field in dataclasses.fields(ClusterOptions)}
    choosing = {
        "namespace",
        "registry_port",
        "version",
        "lifetime",
        "container_engine",
        "context",
        "kubeconfig",
    }

    assert set(existing._MAKING) == fields - choosing
