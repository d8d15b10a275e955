"""The real registry, pushed to and pulled from by the real Docker."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import tarfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.node.registry import (
    ImageNotFoundError,
    NoRegistryError,
    Registry,
    RegistryError,
    local_reference,
    parse,
)

Docker = Any  # aiodocker's, which only tests with Docker import
LABEL = {"dev.cove.test": "edge"}


@pytest.fixture
async def docker() -> AsyncIterator[Docker]:
    """The engine; images that a test has labelled are removed after it."""
    import aiodocker

    async with aiodocker.Docker(url="unix:///var/run/docker.sock") as engine:
        yield engine
        labelled = {"label": ["dev.cove.test=edge"]}
        for container in await engine.containers.list(all=True, filters=labelled):
            await container.delete(force=True)
        for image in await engine.images.list(filters=labelled):
            await engine.images.delete(image["Id"], force=True)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """An empty registry."""
    async with Registry(tmp_path / "registry") as made:
        yield made


async def build(docker: Docker, tag: str, says: str = "hello") -> None:
    """An image of busybox and a file."""
    out = io.BytesIO()
    dockerfile = (
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY says /says\n"
        'ENTRYPOINT ["/bin/busybox", "cat", "/says"]\n'
    )
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add("/bin/busybox", "busybox")
        for name, text in (("Dockerfile", dockerfile), ("says", says)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    out.seek(0)
    await docker.images.build(
        fileobj=out, encoding="identity", tag=tag, labels=LABEL, rm=True, forcerm=True
    )


async def output(docker: Docker, image: str) -> str:
    """What a container of the image writes."""
    container = await docker.containers.create(
        {"Image": image, "Labels": LABEL, "HostConfig": {"NetworkMode": "none"}}
    )
    await container.start()
    await container.wait()
    text = "".join(await container.log(stdout=True))
    await container.delete(force=True)
    return text


@pytest.mark.requires("registry", "docker")
async def test_an_image_is_pushed_and_pulled(registry: Registry, docker: Docker) -> None:
    """Built, pushed, removed, pulled under the name that pods use, run."""
    tag = f"{registry.address}/shop/web:v1"
    await build(docker, tag)
    await docker.images.push(tag)
    await docker.images.delete(tag, force=True)
    reference = await registry.reference(f"{registry.name}/shop/web:v1")
    assert reference == tag
    await docker.images.pull(reference)
    assert await output(docker, reference) == "hello"
    assert [(i.repository, i.tag) for i in await registry.list_images()] == [("shop/web", "v1")]


@pytest.mark.requires("registry", "docker")
async def test_a_deleted_image_is_gone_and_its_space_with_the_next_start(
    tmp_path: Path, docker: Docker
) -> None:
    """The other one stays, over the restart."""
    async with Registry(tmp_path) as registry:
        for name in ("a", "b"):
            await build(docker, f"{registry.address}/{name}:1", says=name)
            await docker.images.push(f"{registry.address}/{name}:1")
        await registry.delete_image("a:1")
        assert [i.repository for i in await registry.list_images()] == ["b"]
        with pytest.raises(ImageNotFoundError, match="a:1"):
            await registry.delete_image("a:1")
    before = _blobs(tmp_path)
    async with Registry(tmp_path) as registry:
        assert [i.repository for i in await registry.list_images()] == ["b"]
        await docker.images.pull(f"{registry.address}/b:1")
    assert _blobs(tmp_path) < before


def _blobs(folder: Path) -> int:
    return len([p for p in folder.rglob("blobs/**/data") if p.is_file()])


async def _fetch(reference: str) -> None:
    """Ask for everything an image is made of."""
    host, _, rest = reference.partition("/")
    path, _, tag = rest.rpartition(":")
    url = f"http://{host}/v2/{path}"
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(f"{url}/manifests/{tag}", headers=accept) as answer:
            manifest = await answer.json(content_type=None)
        for part in (manifest["config"], *manifest["layers"]):
            async with session.get(f"{url}/blobs/{part['digest']}") as answer:
                await answer.read()


@pytest.mark.requires("registry", "docker")
async def test_a_mirror_keeps_what_it_fetched(tmp_path: Path, docker: Docker) -> None:
    """Started with the first image; afterwards the other registry may be gone."""
    async with AsyncExitStack() as stack:
        far = Registry(tmp_path / "far")
        async with far:
            tag = f"{far.address}/tools/cat:1"
            await build(docker, tag)
            await docker.images.push(tag)
            await docker.images.delete(tag, force=True)
            mirrors = {"far.example.com": f"http://{far.address}"}
            near = await stack.enter_async_context(Registry(tmp_path / "near", mirrors=mirrors))
            assert await near.mirror("other.example.com") == ""
            reference = await near.reference("far.example.com/tools/cat:1")
            assert reference == f"{await near.mirror('far.example.com')}/tools/cat:1"
            await docker.images.pull(reference)
            # An engine that has a layer of another image does not ask for it.
            await _fetch(reference)
            # It is written beside being handed on.
            async with asyncio.timeout(60):
                while _blobs(tmp_path / "near") < _blobs(tmp_path / "far"):
                    await asyncio.sleep(0.05)
        await docker.images.delete(reference, force=True)
        await docker.images.pull(reference)
        assert await output(docker, reference) == "hello"
        assert await near.list_images() == []


@pytest.mark.requires("registry")
async def test_one_that_was_killed_is_back_on_its_port(registry: Registry) -> None:
    """Whoever knows the address needs not learn another."""
    main = registry._main
    pid = main.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with aiohttp.ClientSession() as session:
        while main.pid in (None, pid):
            await _tried(session, main.url)
        await main.up()
        assert await _tried(session, main.url) == 200


async def _tried(session: aiohttp.ClientSession, url: str) -> int:
    try:
        async with session.get(f"{url}/v2/") as answer:
            return answer.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.requires("registry")
async def test_pods_reach_it_at_the_gateway(tmp_path: Path) -> None:
    """Another address of the machine, the same port, the same images."""
    async with (
        Registry(tmp_path, gateways=["127.0.0.2"]) as registry,
        aiohttp.ClientSession() as session,
    ):
        assert await _tried(session, f"http://127.0.0.2:{registry.port}") == 200
        assert await _tried(session, f"http://127.0.0.3:{registry.port}") == 0


@pytest.mark.requires("registry")
async def test_a_port_that_is_taken_is_an_error_that_says_so(
    registry: Registry, tmp_path: Path
) -> None:
    """And nothing is left running."""
    with pytest.raises(RegistryError, match="address already in use"):
        async with Registry(tmp_path / "second", port=registry.port):
            pass


@pytest.mark.requires("registry")
async def test_tools_are_told_where_it_is(registry: Registry, api: EmbeddedCluster) -> None:
    """As they look for it; a second run puts the first one's right."""
    config_maps = GVR("", "v1", "configmaps")
    await registry.announce(api.client)
    await registry.announce(api.client)
    found = await api.client.get(config_maps, "local-registry-hosting", "kube-public")
    told = yaml.safe_load(found["data"]["localRegistryHosting.v1"])
    assert told["host"] == registry.address
    assert told["hostFromClusterNetwork"] == registry.name


async def test_without_a_registry_the_next_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoRegistryError, match="apt-get install docker-registry"):
        async with Registry(tmp_path / "registry"):
            pass
    assert not (tmp_path / "registry").exists()


NAMES = [
    ("nginx", "docker.io", "library/nginx", ""),
    ("nginx:1.27", "docker.io", "library/nginx", ":1.27"),
    ("docker.io/nginx", "docker.io", "library/nginx", ""),
    ("index.docker.io/library/nginx:1", "docker.io", "library/nginx", ":1"),
    ("grafana/grafana", "docker.io", "grafana/grafana", ""),
    ("localhost/x", "localhost", "x", ""),
    ("localhost:5000/a/b:c", "localhost:5000", "a/b", ":c"),
    ("ghcr.io/a/b@sha256:00", "ghcr.io", "a/b", "@sha256:00"),
    ("ghcr.io/a/b:1@sha256:00", "ghcr.io", "a/b", ":1@sha256:00"),
]


@pytest.mark.parametrize(("image", "host", "path", "suffix"), NAMES, ids=[n[0] for n in NAMES])
def test_names_of_images_are_read_as_docker_reads_them(
    image: str, host: str, path: str, suffix: str
) -> None:
    """Short ones are Docker Hub's."""
    assert parse(image) == (host, path, suffix)


def test_the_name_of_the_registry_is_local_to_the_engine() -> None:
    """Others are left alone."""
    assert local_reference("registry.cove.localhost:5000/a/b:c") == "localhost:5000/a/b:c"
    for other in ("nginx", "registry.cove.localhost/x", "ghcr.io/a/b", "localhost:5000/x"):
        assert local_reference(other) == other
