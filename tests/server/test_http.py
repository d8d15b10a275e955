"""The HTTPS front under bad input and bad clients."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from typing import Any

import aiohttp
import pytest

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR


def context(cluster: EmbeddedCluster) -> ssl.SSLContext:
    """Trusts the cluster, proves to be its administrator."""
    tls = ssl.create_default_context(cadata=cluster.authority.certificate.decode())
    import tempfile

    pair = cluster.authority.client("admin", ["system:masters"])
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        tls.load_cert_chain(file.name)
    return tls


async def call(
    cluster: EmbeddedCluster, method: str, path: str, **options: Any
) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, cluster.url + path, ssl=context(cluster), **options) as response,
    ):
        text = await response.text()
        return response.status, json.loads(text) if text[:1] == "{" else {"text": text}


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("body", "content_type", "code", "reason"),
    [
        ("{", "application/json", 400, "BadRequest"),
        ("[1]", "application/json", 400, "BadRequest"),
        ("a: b: c", "application/yaml", 400, "BadRequest"),
        ("<a/>", "text/xml", 415, "UnsupportedMediaType"),
        ("\x00\xff\xfe", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        ('{"kind":"Nope","apiVersion":"v1"}', "application/json", 400, "BadRequest"),
        ('{"metadata":{"name":"Bad_"}}', "application/json", 422, "Invalid"),
        ('{"metadata":{"name":5}}', "application/json", 400, "BadRequest"),
        ("null", "application/json", 422, "Invalid"),
    ],
    ids=["json", "list", "yaml", "xml", "protobuf", "kind", "name", "type", "null"],
)
async def test_bad_bodies_get_a_status(
    api: EmbeddedCluster, body: str, content_type: str, code: int, reason: str
) -> None:
    """Never a traceback: the Status that Kubernetes answers."""
    status, doc = await call(
        api,
        "POST",
        CONFIG_MAPS,
        data=body.encode("latin-1"),
        headers={"Content-Type": content_type},
    )
    assert (status, doc["kind"], doc["reason"]) == (code, "Status", reason)


async def test_a_body_above_the_limit_is_413(api: EmbeddedCluster) -> None:
    """3 MiB is what a real API server takes."""
    big = json.dumps({"metadata": {"name": "big"}, "data": {"k": "x" * (3 << 20)}})
    status, doc = await call(
        api,
        "POST",
        CONFIG_MAPS,
        data=io.BytesIO(big.encode()),
        headers={"Content-Type": "application/json"},
    )
    assert (status, doc["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_thousand_idle_connections_do_not_stop_a_request(api: EmbeddedCluster) -> None:
    """Idle clients cost a socket each and nothing else."""
    loop = asyncio.get_running_loop()
    idle = []
    for _ in range(1000):
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", api.server.port)
        idle.append(transport)
    try:
        status, _ = await call(api, "GET", "/api/v1/namespaces/default")
        assert status == 200
    finally:
        for transport in idle:
            transport.abort()


async def test_a_client_that_trickles_its_headers_does_not_stop_others(
    api: EmbeddedCluster,
) -> None:
    """Slow loris: half a request is held, everybody else is served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.server.port, ssl=context(api))
    writer.write(b"GET /api HTTP/1.1\r\nHost: x\r\nX-Slow")
    await writer.drain()
    status, _ = await call(api, "GET", "/api")
    assert status == 200
    writer.close()
    assert reader is not None


async def test_a_watch_that_is_not_read_leaves_others_alone(api: EmbeddedCluster) -> None:
    """Its bytes stay in its own queue; writes and other watches go on."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", api.server.port, ssl=context(api), limit=1024
    )
    writer.write(f"GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    await reader.readline()
    for i in range(200):
        await api.client.create(
            GVR("", "v1", "configmaps"),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"cm-{i}", "namespace": "default"},
                "data": {"k": "x" * 10_000},
            },
        )
    status, doc = await call(api, "GET", CONFIG_MAPS)
    assert status == 200
    assert len(doc["items"]) == 200
    writer.transport.abort()


async def test_a_watch_that_breaks_off_is_forgotten(api: EmbeddedCluster) -> None:
    """The store keeps no watcher of a client that went away."""
    _, writer = await asyncio.open_connection("127.0.0.1", api.server.port, ssl=context(api))
    writer.write(f"GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    watchers = api.api.store._watchers
    async with asyncio.timeout(5):
        while not watchers.get("configmaps"):
            await asyncio.sleep(0)
    writer.transport.abort()
    async with asyncio.timeout(5):
        while watchers.get("configmaps"):
            await asyncio.sleep(0)


async def test_anonymous_gets_only_what_kubernetes_allows(api: EmbeddedCluster) -> None:
    """Health and version without credentials, nothing else."""
    tls = ssl.create_default_context(cadata=api.authority.certificate.decode())
    async with aiohttp.ClientSession() as session:
        for path, code in (("/healthz", 200), ("/version", 200), ("/api/v1/pods", 403)):
            async with session.get(api.url + path, ssl=tls) as response:
                assert response.status == code


async def test_an_unknown_token_is_401(api: EmbeddedCluster) -> None:
    """A credential that is wrong is worse than none."""
    tls = ssl.create_default_context(cadata=api.authority.certificate.decode())
    headers = {"Authorization": "Bearer nope"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(api.url + "/api", ssl=tls, headers=headers) as response,
    ):
        assert response.status == 401
        assert (await response.json())["reason"] == "Unauthorized"
