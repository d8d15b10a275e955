"""Charts from where charts come from: a packed file, a repository, a registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import helm_charts
import pytest
from aiohttp import web

from cove.engines.embedded import EmbeddedCluster
from cove.host.helm import Deployed, HelmError, Release, deploy
from cove.node.registry import Registry

pytestmark = pytest.mark.requires("helm")


async def put(cluster: EmbeddedCluster, release: Release) -> Deployed:
    return await deploy(
        release,
        kubeconfig=cluster.kubeconfig_path,
        client=cluster.client,
        log=lambda line: None,
    )


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder of the chart ``shop`` in two versions."""
    import helm_python

    (tmp_path / "packed").mkdir()
    for version in ("0.1.0", "0.2.0"):
        chart = helm_charts.write(tmp_path / version / "shop", version=version)
        helm_python.package(chart, destination=tmp_path / "packed")
    return tmp_path / "packed"


@pytest.fixture
async def repository(packed: Path) -> AsyncIterator[str]:
    """The address of a repository of these charts."""
    import helm_python

    helm_python.repo_index_generate(packed)
    application = web.Application()
    application.router.add_static("/", packed)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_chart_that_is_packed(cluster: EmbeddedCluster, packed: Path) -> None:
    deployed = await put(cluster, Release("web", packed / "shop-0.1.0.tgz"))

    assert (deployed.chart, deployed.version) == ("shop", "0.1.0")


@pytest.mark.parametrize(
    ("version", "found"), [(None, "0.2.0"), ("0.1.0", "0.1.0"), ("<0.2", "0.1.0")]
)
async def test_a_chart_of_a_repository(
    cluster: EmbeddedCluster, repository: str, version: str | None, found: str
) -> None:
    """The latest, unless a version or a range is asked for."""
    deployed = await put(cluster, Release("web", "shop", repo=repository, version=version))

    assert deployed.version == found


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"chart": "bakery"}, "look whether {repo} has the chart bakery"),
        ({"version": "9.9.9"}, "look whether {repo} has the chart shop in version 9.9.9"),
    ],
    ids=["chart", "version"],
)
async def test_what_a_repository_does_not_have_is_told(
    cluster: EmbeddedCluster, repository: str, declared: dict[str, Any], why: str
) -> None:
    with pytest.raises(HelmError, match=why.format(repo=repository)):
        await put(
            cluster, Release(**{"name": "web", "chart": "shop", "repo": repository, **declared})
        )


@pytest.mark.requires("registry")
async def test_a_chart_of_a_registry(
    cluster: EmbeddedCluster, packed: Path, tmp_path: Path
) -> None:
    import helm_python

    async with Registry(tmp_path / "registry") as registry:
        remote = f"oci://127.0.0.1:{registry.port}/charts"
        for file in sorted(packed.glob("*.tgz")):
            await asyncio.to_thread(helm_python.push, file, remote, plain_http=True)

        latest = await put(cluster, Release("web", f"{remote}/shop", plain_http=True))
        older = await put(
            cluster, Release("web", f"{remote}/shop", version="0.1.0", plain_http=True)
        )
        with pytest.raises(HelmError) as error:
            await put(cluster, Release("web", f"{remote}/shop", version="9.9.9", plain_http=True))

    assert (latest.version, older.version) == ("0.2.0", "0.1.0")
    assert f"look whether {remote}/shop is there in version 9.9.9" in str(error.value)
