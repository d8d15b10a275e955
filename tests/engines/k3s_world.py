"""k3s clusters of the stand-in's image, and what the engine has of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from containers_world import docker
from standin import IMAGE, Behind, as_privileged_as_here, make_standin

from cove.engines.cluster import ClusterOptions
from cove.engines.k3s import K3sCluster
from cove.engines.select import open_cluster
from cove.node.docker.connection import Engine
from cove.node.docker.logs import frames

Doc = dict[str, Any]
Open = Callable[..., K3sCluster]
WAIT = 30


@asynccontextmanager
async def standin_engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """This machine's Docker with the stand-in's image, and what privileges it may give."""
    async with docker() as found:
        if await found.image(IMAGE) is None:
            await make_standin(found)
        await as_privileged_as_here(found, monkeypatch)
        yield found


@asynccontextmanager
async def opener(
    engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> AsyncIterator[Open]:
    """``start(behind, **options)``: a k3s cluster called k8s; nothing is left of it."""
    monkeypatch.setenv("COVE_HOME", str(home))
    labels = []

    def make(
        served: Behind,
        *,
        name: str = "k8s",
        clock: Any = None,
        at_once: bool = True,
        **options: Any,
    ) -> K3sCluster:
        options = {**served.options, **options}
        options["extra_args"] = (*served.options["extra_args"], *options.pop("more_args", ()))
        found = open_cluster(
            name, ClusterOptions(**options), engine="k3s", log=said.append, clock=clock
        )
        assert isinstance(found, K3sCluster)
        labels.append(found.label)
        if at_once:
            served.place(found.variants.folder)
        return found

    yield make
    for label in labels:
        for each in await engine.containers(label):
            await engine.remove(each["Id"])
        for network in await engine.networks(label):
            await engine.remove_network(network["Name"])


async def containers(engine: Engine, cluster: K3sCluster) -> dict[str, Doc]:
    """What the engine has of a cluster, by role or name."""
    found = await engine.containers(cluster.label)
    return {each["Names"][0].removeprefix(f"/{cluster.network}-"): each for each in found}


async def log_of(engine: Engine, container: Doc) -> str:
    async with engine.log(container["Id"], {"stdout": "true", "stderr": "true"}) as content:
        return b"".join([piece async for piece in frames(content, False)]).decode()


async def until(said: list[str], text: str) -> str:
    """The first line with ``text`` that is told."""
    async with asyncio.timeout(WAIT):
        while True:
            for line in said:
                if text in line:
                    return line
            await asyncio.sleep(0.01)


async def what_is_left(engine: Engine, cluster: K3sCluster) -> list[str]:
    """Names of containers and networks, the folder."""
    containers = await engine.containers(cluster.label)
    networks = await engine.networks(cluster.label)
    folder = cluster.variants.folder
    return [
        *(f"{c['Names'][0]} is {c['State']}" for c in containers),
        *(str(n["Name"]) for n in networks),
        *map(str, [folder] if folder.exists() else []),
    ]
