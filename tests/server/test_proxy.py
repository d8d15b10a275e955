"""Proxies to services, pods and nodes, over HTTPS and to a real server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import cove
from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.bootstrap._seed import seed

NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
BASE = "/api/v1/namespaces/default"


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with cove.embedded() as made:
        yield made


@pytest.fixture
async def client(cluster: EmbeddedCluster) -> AsyncIterator[Client]:
    async with Client.connect(kubeconfig.load(str(cluster.kubeconfig_path))) as made:
        yield made


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that tells what it was asked, and more."""
    app = web.Application()

    async def tell(request: web.Request) -> web.Response:
        return web.json_response(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": {k.lower(): v for k, v in request.headers.items()},
                "body": await request.text(),
            },
            status=201 if request.method == "POST" else 200,
        )

    async def move(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/there?x=1"})

    async def talk(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data}!")
        return socket

    app.router.add_get("/move", move)
    app.router.add_get("/talk", talk)
    app.router.add_route("*", "/{rest:.*}", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    yield site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    await runner.cleanup()


@pytest.fixture
async def service(cluster: EmbeddedCluster, port: int) -> int:
    """A Service whose endpoint is that server: stored past validation, which wants no loopback."""
    ports = [{"name": "web", "port": 80}, {"name": "other", "port": 81}]
    await cluster.client.create(
        SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": ports}}
    )
    seed(
        cluster.api,
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        {
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
        },
    )
    return port


@pytest.mark.parametrize("name", ["web:80", "web:web", "http:web:web"])
async def test_a_request_reaches_the_service(client: Client, service: int, name: str) -> None:
    """Path, query, body and headers; nothing of who asked."""
    told = await client.request(
        "POST",
        f"{BASE}/services/{name}/proxy/a%20b/c",
        query={"q": "1"},
        doc={"hello": "there"},
    )
    assert (told["method"], told["path"]) == ("POST", "/a%20b/c?q=1")
    assert told["body"] == '{"hello":"there"}'
    assert told["headers"]["x-forwarded-uri"].endswith(f"/services/{name}/proxy/a%20b/c")
    assert told["headers"]["host"] == f"127.0.0.1:{service}"
    assert "authorization" not in told["headers"]


async def test_redirects_stay_behind_the_proxy(
    cluster: EmbeddedCluster, client: Client, service: int
) -> None:
    """The service's own, and the one to the slash that pages need."""
    front = f"{BASE}/services/web:80/proxy"
    moved = await client.transport.request("GET", f"{front}/move")
    assert (moved.status, moved.headers["location"]) == (302, f"{front}/there?x=1")
    slash = await client.transport.request("GET", front, query="a=b")
    assert (slash.status, slash.headers["location"]) == (301, f"{front}/?a=b")


async def test_websockets_get_through(cluster: EmbeddedCluster, service: int) -> None:
    import ssl

    tls = ssl.create_default_context(cadata=cluster.credentials.authority.decode())
    pair = cluster.kubeconfig_path.with_name("admin.pem")
    pair.write_bytes(cluster.credentials.admin.certificate + cluster.credentials.admin.key)
    tls.load_cert_chain(pair)
    url = f"{cluster.url}{BASE}/services/web:80/proxy/talk"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=tls, protocols=["chat"]) as socket,
    ):
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=10) == "hello!"
        assert socket.protocol == "chat"


async def refused(client: Client, path: str) -> tuple[int, str]:
    with pytest.raises(StatusError) as caught:
        await client.request("GET", path)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("services/none:80/proxy/", 404, 'services "none" not found'),
        ("services/web:99/proxy/", 503, 'no service port 99 found for service "web"'),
        ("services/web:81/proxy/", 503, 'no endpoints available for service "web:81"'),
        ("services/ftp:web:80/proxy/", 400, 'invalid service request "ftp:web:80"'),
        ("pods/none/proxy/", 404, 'pods "none" not found'),
    ],
)
async def test_what_is_not_there(
    client: Client, service: int, path: str, code: int, text: str
) -> None:
    assert await refused(client, f"{BASE}/{path}") == (code, text)


async def test_a_server_that_is_gone(client: Client, cluster: EmbeddedCluster) -> None:
    await cluster.client.create(
        SERVICES,
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}},
    )
    seed(
        cluster.api,
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        {
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"]}],
            "ports": [{"name": "", "port": 1, "protocol": "TCP"}],
        },
    )
    code, text = await refused(client, f"{BASE}/services/web/proxy/")
    assert code == 503
    assert text == (
        "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused"
    )


async def test_simulated_pods_and_nodes_say_that_they_are(
    client: Client, cluster: EmbeddedCluster
) -> None:
    """Nothing is sent to an address that only seems to be there."""
    await cluster.client.create(
        PODS,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "main", "image": "nginx"}]},
        },
    )
    await cluster.settle()
    address = (await client.get(PODS, "p", "default"))["status"]["podIP"]
    code, text = await refused(client, f"{BASE}/pods/p:8080/proxy/")
    assert code == 503
    assert f"dial tcp {address}:8080" in text
    assert "simulated" in text
    code, text = await refused(client, "/api/v1/nodes/node-0/proxy/healthz")
    assert code == 503
    assert "simulated" in text


async def test_a_pod_that_claims_to_be_this_machine_is_not_believed(
    client: Client, cluster: EmbeddedCluster, port: int
) -> None:
    await cluster.client.create(
        PODS,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {
                "schedulerName": "nobody",
                "containers": [{"name": "main", "image": "nginx"}],
            },
        },
    )
    status: Any = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    await cluster.client.patch(PODS, "p", status, "default", subresource="status")
    assert await refused(client, f"{BASE}/pods/p:{port}/proxy/") == (400, "address not allowed")
