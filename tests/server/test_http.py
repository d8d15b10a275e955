"""The HTTPS front under bad input and bad clients."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from typing import Any

import aiohttp
import pytest
import yaml

from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.pki import use_pair


def context(cluster: EmbeddedCluster) -> ssl.SSLContext:
    """Trusts the cluster, proves to be its administrator."""
    tls = ssl.create_default_context(cadata=cluster.authority.certificate.decode())
    use_pair(tls, cluster.authority.client("admin", ["system:masters"]))
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
CONFIG_MAP = GVR("", "v1", "configmaps")


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


async def spoken(cluster: EmbeddedCluster, request: bytes) -> bytes:
    """What is answered to these bytes, up to the end of the connection."""
    port = cluster.server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context(cluster))
    writer.write(request)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.transport.abort()


async def test_a_body_is_taken_as_it_is_whatever_its_encoding_says(api: EmbeddedCluster) -> None:
    """Upstream does not decompress; a body that cannot be is the client's mistake."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    wrong, _ = await call(api, "POST", CONFIG_MAPS, data=b"{" * 100, headers=headers)
    unread, _ = await call(api, "PUT", "/api/v1/nope", data=b"x" * 100, headers=headers)
    good, made = await call(
        api, "POST", CONFIG_MAPS, data=b'{"metadata":{"name":"a"}}', headers=headers
    )

    assert (wrong, unread, good) == (400, 404, 201)
    assert made["metadata"]["name"] == "a"


@pytest.mark.parametrize("version", [b" HTTP/1.0", b""], ids=["1.0", "0.9"])
async def test_streams_of_old_http_end_with_the_connection(
    api: EmbeddedCluster, version: bytes
) -> None:
    """Their clients know no chunks."""
    path = CONFIG_MAPS.encode() + b"?watch=1&timeoutSeconds=1"

    answer = await spoken(api, b"GET " + path + version + b"\r\nHost: x\r\n\r\n")

    assert b"500" not in answer.split(b"\r\n", 1)[0]
    assert b"chunked" not in answer.lower()


async def test_who_speaks_no_http_cannot_fill_the_log(
    api: EmbeddedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    for request in (
        b"GET / HTTP/9\r\n\r\n",
        b"GET /\x81\xfe HTTP/1.1\r\n\r\n",
        b"\x00\x01\r\n\r\n",
    ):
        assert b" 400 " in await spoken(api, request)

    assert [r for r in caplog.records if r.name.startswith(("aiohttp", "cove"))] == []


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("7", 500),
        ("0", 201),
        ("x=y", 201),
        ("+7", 201),
        ("9" * 30, 201),
        ("", 201),
        ("\u0663", 201),
    ],
)
async def test_only_a_resource_version_that_is_one_is_refused_at_creation(
    api: EmbeddedCluster, version: str, code: int
) -> None:
    """Upstream's storage looks at numbers alone; its answer to one is a 500."""
    body = {"metadata": {"name": "a", "resourceVersion": version}}

    answered, doc = await call(api, "POST", CONFIG_MAPS, json=body)

    assert answered == code
    if code == 201:
        assert doc["metadata"]["resourceVersion"].isdigit()
        assert doc["metadata"]["resourceVersion"] != version


YAML, MERGE = "application/yaml", "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.mark.parametrize(
    ("method", "media", "body"),
    [
        ("POST", "application/json", b"[" * 100_000),
        ("POST", "application/json", b'{"a":' * 300 + b"1" + b"}" * 300),
        ("POST", YAML, b"[" * 100_000),
        ("POST", YAML, b"- " * 100_000),
        ("POST", YAML, b"{a: " * 100_000),
        ("DELETE", "application/json", b"[" * 100_000),
        ("PATCH", MERGE, b'{"a":' * 5000 + b"1" + b"}" * 5000),
        ("PATCH", APPLY, b"{a: " * 20_000 + b"1" + b"}" * 20_000),
    ],
    ids=["json", "json-300", "flow", "block", "map", "options", "merge", "apply"],
)
async def test_bodies_that_nest_too_deep_are_refused(
    api: EmbeddedCluster, method: str, media: str, body: bytes
) -> None:
    """And the server is there afterwards: libyaml would take the process with it."""
    await api.client.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "default"}})
    path = CONFIG_MAPS + ("/a" if method == "PATCH" else "")

    code, doc = await call(
        api,
        method,
        path,
        data=body,
        params={"fieldManager": "me"} if method == "PATCH" else {},
        headers={"Content-Type": media},
    )

    assert (code, doc["reason"]) in {(400, "BadRequest"), (422, "Invalid")}
    assert (await api.client.get(CONFIG_MAP, "a", "default"))["metadata"]["name"] == "a"


async def test_numbers_that_no_int64_holds_are_refused(api: EmbeddedCluster) -> None:
    number = 2**64
    for method, media, query in (("POST", YAML, {}), ("PATCH", APPLY, {"fieldManager": "me"})):
        path = "/api/v1/namespaces/default/events" + ("/a" if method == "PATCH" else "")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "a", "generation": number},
            "involvedObject": {"namespace": "default"},
            "count": number,
        }
        body = yaml.safe_dump(event)
        code, doc = await call(
            api, method, path, data=body, params=query, headers={"Content-Type": media}
        )
        assert (code, doc["reason"]) == (400, "BadRequest")


JSON_LINES = [
    "/api/v1/namespaces/default",
    "/api/v1/namespaces",
    "/apis/apps/v1",
    "/api/v1/nodes/x",
]
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
DISCOVERY = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


async def raw(cluster: EmbeddedCluster, path: str, **headers: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(cluster.url + path, ssl=context(cluster), headers=headers) as response,
    ):
        return await response.text()


@pytest.mark.parametrize("headers", [{}, TABLE, DISCOVERY], ids=["plain", "table", "discovery"])
@pytest.mark.parametrize("path", [*JSON_LINES, "/apis"])
async def test_a_document_is_one_line_with_its_end(
    api: EmbeddedCluster, path: str, headers: dict[str, str]
) -> None:
    """As Go's encoder writes them: programs compare texts of errors."""
    text = await raw(api, path, **headers)
    assert text.endswith("}\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize("path", JSON_LINES)
@pytest.mark.parametrize(
    ("agent", "query", "laid_out"),
    [
        ("curl/8.5.0", "", True),
        ("Wget/1.21", "", True),
        ("Mozilla/5.0 (X11)", "", True),
        ("kubectl/v1.37", "", False),
        ("kubectl/v1.37", "?pretty=true", True),
        ("curl/8.5.0", "?pretty=0", False),
    ],
)
async def test_people_get_documents_laid_out(
    api: EmbeddedCluster, path: str, agent: str, query: str, laid_out: bool
) -> None:
    text = await raw(api, path + query, **{"User-Agent": agent})
    document = json.loads(text)
    assert text == (
        json.dumps(document, indent=2, ensure_ascii=False)
        if laid_out
        else json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"
    )


@pytest.mark.parametrize(
    ("path", "code", "before"),
    [
        (CONFIG_MAPS, 400, "invalid resource version: "),
        (CONFIG_MAPS + "?watch=1", 500, ""),
        (CONFIG_MAPS + "/kube-root-ca.crt", 500, ""),
    ],
    ids=["list", "watch", "get"],
)
@pytest.mark.parametrize(
    ("version", "problem"),
    [("abc", "invalid syntax"), ("-1", "invalid syntax"), ("9" * 5000, "value out of range")],
    ids=["word", "negative", "huge"],
)
async def test_a_resource_version_that_is_none_is_told_by_the_storage(
    api: EmbeddedCluster, path: str, code: int, before: str, version: str, problem: str
) -> None:
    """Only lists have an answer of the client's fault for it, as upstream."""
    await api.client.create(
        CONFIG_MAP, {"metadata": {"name": "kube-root-ca.crt", "namespace": "default"}}
    )
    mark = "&" if "?" in path else "?"
    status, doc = await call(api, "GET", f"{path}{mark}resourceVersion={version}")
    assert status == doc["code"] == code
    assert doc["message"] == (
        f'{before}resourceVersion: Invalid value: "{version}": '
        f'strconv.ParseUint: parsing "{version}": {problem}'
    )
