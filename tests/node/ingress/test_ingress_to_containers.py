"""The whole way: an image of this machine, pushed, deployed, reached through an Ingress."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from edge import INGRESSES, SERVICES, Everywhere, path, rule

from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR
from cove.node.registry import NAME

pytestmark = pytest.mark.requires("docker", "caddy", "registry")

Doc = dict[str, Any]
DEPLOYMENTS = GVR("apps", "v1", "deployments")
LABEL = {"dev.cove.test": "edge"}


@pytest.fixture
async def docker() -> AsyncIterator[Any]:
    """The engine; images that a test has labelled are removed after it."""
    import aiodocker

    async with aiodocker.Docker(url="unix:///var/run/docker.sock") as engine:
        yield engine
        for image in await engine.images.list(filters={"label": ["dev.cove.test=edge"]}):
            await engine.images.delete(image["Id"], force=True)


@pytest.fixture
async def running(docker: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedCluster]:
    """A cluster whose pods run; gone before the images are."""
    monkeypatch.delenv("COVE_CONTAINER_ENGINE", raising=False)
    async with embedded(container_engine="docker", ingress=True, registry=True) as cluster:
        yield cluster


async def build(docker: Any, tag: str, says: str) -> None:
    """A web server that says one thing."""
    out = io.BytesIO()
    dockerfile = (
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY index.html /www/index.html\n"
        'CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n'
    )
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add("/bin/busybox", "busybox")
        for name, text in (("Dockerfile", dockerfile), ("index.html", says)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    out.seek(0)
    await docker.images.build(
        fileobj=out, encoding="identity", tag=tag, labels=LABEL, rm=True, forcerm=True
    )


def deployment(image: str) -> Doc:
    """Two pods that are ready when they answer, and end when nobody is sent to them."""
    container = {
        "name": "web",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
            },
        },
    }


async def test_an_image_is_deployed_and_replaced_under_load(
    running: EmbeddedCluster, docker: Any
) -> None:
    """Built, pushed, pulled under the name that pods use; a second version costs no request."""
    client, containers = running.client, running.containers
    assert containers is not None
    registry = containers.addresses["registry"]
    name = registry.replace("localhost", NAME)
    for version in ("v1", "v2"):
        await build(docker, f"{registry}/web:{version}", version)
        await docker.images.push(f"{registry}/web:{version}")
        await docker.images.delete(f"{registry}/web:{version}", force=True)
    await client.create(DEPLOYMENTS, deployment(f"{name}/web:v1"), "default")
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": service}, "default")
    ingress = {"rules": [rule("web.test", path("/", "web"))]}
    await client.create(INGRESSES, {"metadata": {"name": "web"}, "spec": ingress}, "default")
    port = int(containers.addresses["http"].rpartition(":")[2])
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Everywhere())
    ) as session:

        async def get() -> str:
            async with session.get(f"http://web.test:{port}/index.html") as answer:
                text = await answer.text()
                return text if answer.status == 200 else f"{answer.status} {text}"

        while await get() != "v1":
            await asyncio.sleep(0)
        seen: list[str] = []

        async def ask() -> None:
            while seen[-20:] != ["v2"] * 20:
                seen.append(await get())

        asking = asyncio.gather(ask(), ask())
        await client.patch(DEPLOYMENTS, "web", deployment(f"{name}/web:v2"), "default")
        await asking
        assert set(seen) == {"v1", "v2"}


@pytest.mark.requires("root")
async def test_pods_reach_registry_and_ingress_by_the_names_of_the_host(
    running: EmbeddedCluster, docker: Any
) -> None:
    """The same name and port in a pod and beside it."""
    client, containers = running.client, running.containers
    assert containers is not None
    registry = containers.addresses["registry"]
    name = registry.replace("localhost", NAME)
    await build(docker, f"{registry}/web:v1", "v1")
    await docker.images.push(f"{registry}/web:v1")
    pods = GVR("", "v1", "pods")
    web = {"name": "web", "image": f"{name}/web:v1"}
    labels = {"app": "web"}
    await client.create(
        pods,
        {"metadata": {"name": "web", "labels": labels}, "spec": {"containers": [web]}},
        "default",
    )
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    await client.create(SERVICES, {"metadata": {"name": "web"}, "spec": service}, "default")
    ingress = {"rules": [rule("web.cove.localhost", path("/", "web"))]}
    await client.create(INGRESSES, {"metadata": {"name": "web"}, "spec": ingress}, "default")
    port = containers.addresses["http"].rpartition(":")[2]
    urls = [f"http://{name}/v2/web/tags/list", f"http://web.cove.localhost:{port}/index.html"]
    for n, url in enumerate(urls):
        # Until it answers: the pod behind may still start.
        asking = f"until /bin/busybox wget -q -O - {url}; do :; done"
        ask = {**web, "command": ["/bin/busybox", "sh", "-c", asking]}
        spec = {"containers": [ask], "restartPolicy": "Never"}
        await client.create(pods, {"metadata": {"name": f"ask-{n}"}, "spec": spec}, "default")
        async with client.watch(pods, "default", field_selector=f"metadata.name=ask-{n}") as events:
            async for event in events:
                if event.object["status"].get("phase") in ("Succeeded", "Failed"):
                    assert event.object["status"]["phase"] == "Succeeded"
                    break
        told = await client.raw("GET", f"/api/v1/namespaces/default/pods/ask-{n}/log")
        assert b"v1" in told
