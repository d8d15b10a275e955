"""What is written on the wire, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest

import cove
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.pki import use_pair
from cove.server.answer import Answer
from cove.server.http import HttpServer
from cove.server.request import Request, Response

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CONFIG_MAPS = GVR("", "v1", "configmaps")


@pytest.fixture
async def wire(api: EmbeddedCluster) -> AsyncIterator[Streams]:
    """A connection of an administrator, nothing said on it yet."""
    tls = ssl.create_default_context(cadata=api.authority.certificate.decode())
    pair = api.authority.client("admin", ["system:masters"])
    use_pair(tls, pair)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.server.port, ssl=tls)
    yield reader, writer
    writer.transport.abort()
    await asyncio.sleep(0)


async def head_of(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]]:
    """The status line, and the headers in their order."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode()[:-4].split("\r\n")
    return first, [(n, v) for n, _, v in (line.partition(": ") for line in lines)]


async def test_the_head_is_that_of_an_api_server(wire: Streams) -> None:
    reader, writer = wire
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = await head_of(reader)
    said = dict(headers)
    body = await reader.readexactly(int(said["Content-Length"]))
    assert status == "HTTP/1.1 200 OK"
    assert [name for name, _ in headers] == [
        "Audit-Id",
        "Cache-Control",
        "Content-Type",
        "X-Kubernetes-Pf-Flowschema-Uid",
        "X-Kubernetes-Pf-Prioritylevel-Uid",
        "Date",
        "Content-Length",
    ]
    assert uuid.UUID(said["Audit-Id"]).version == 4
    assert parsedate_to_datetime(said["Date"]).tzinfo is not None
    assert body.startswith(b"{")


async def test_requests_sent_ahead_are_answered_in_their_order(wire: Streams) -> None:
    reader, writer = wire
    for path in ("/version", "/nope", "/healthz"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    seen = []
    for _ in range(3):
        status, headers = await head_of(reader)
        await reader.readexactly(int(dict(headers)["Content-Length"]))
        seen.append(status)
    assert seen == ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK"]


@pytest.mark.parametrize(
    ("version", "asked", "said", "open_"),
    [
        ("1.1", "", None, True),
        ("1.1", "Connection: close\r\n", "close", False),
        ("1.0", "", None, False),
        ("1.0", "Connection: keep-alive\r\n", "keep-alive", True),
    ],
)
async def test_the_connection_lasts_as_the_client_asks(
    wire: Streams, version: str, asked: str, said: str | None, open_: bool
) -> None:
    reader, writer = wire
    writer.write(f"GET /healthz HTTP/{version}\r\nHost: x\r\n{asked}\r\n".encode())
    status, headers = await head_of(reader)
    assert status == f"HTTP/{version} 200 OK"
    assert dict(headers).get("Connection") == said
    assert await reader.readexactly(2) == b"ok"
    if open_:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await head_of(reader))[0] == "HTTP/1.1 200 OK"
    else:
        assert await reader.read() == b""


async def test_head_has_the_head_of_a_get_and_no_body(wire: Streams) -> None:
    reader, writer = wire
    seen = []
    for method in ("HEAD", "GET"):
        # What comes next is the next answer: nothing was written in between.
        writer.write(f"{method} /version HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers = await head_of(reader)
        said = dict(headers)
        seen.append((status, said["Content-Type"], said["Content-Length"]))
    assert seen[0] == seen[1]
    assert len(await reader.readexactly(int(said["Content-Length"]))) > 2


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_stream_ends_as_its_version_has_it(wire: Streams, version: str) -> None:
    """In chunks, and after them the next answer; before there were any, by the end of the connection."""
    reader, writer = wire
    path = "/api/v1/namespaces?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Ddefault"
    writer.write(f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
    status, headers = await head_of(reader)
    said = dict(headers)
    assert status == f"HTTP/{version} 200 OK"
    if version == "1.1":
        assert said["Transfer-Encoding"] == "chunked"
        size = int(await reader.readuntil(b"\r\n"), 16)
        event = await reader.readexactly(size + 2)
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await head_of(reader))[0] == "HTTP/1.1 200 OK"
    else:
        assert "Transfer-Encoding" not in said
        event = await reader.read()
    assert json.loads(event)["type"] == "ADDED"


async def test_a_long_answer_comes_whole(api: EmbeddedCluster, wire: Streams) -> None:
    """In pieces that a client which reads slowly holds up, and not one byte is another."""
    reader, writer = wire
    for i in range(3):
        data = {"metadata": {"name": f"long-{i}"}, "data": {"k": str(i) * 700_000}}
        await api.client.create(CONFIG_MAPS, data, "default")
    writer.write(b"GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n")
    said = dict((await head_of(reader))[1])
    body = await reader.readexactly(int(said["Content-Length"]))
    items = json.loads(body)["items"]
    assert {i["data"]["k"][0] for i in items if "long" in i["metadata"]["name"]} == set("012")
    assert [len(i["data"]["k"]) for i in items if "long" in i["metadata"]["name"]] == [700_000] * 3


@pytest.mark.parametrize("error", [RuntimeError, ConnectionResetError])
async def test_a_stream_that_breaks_is_no_stream_that_ends(
    error: type[Exception], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it learns that something is missing: neither the last chunk comes nor another answer."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        raise error("the source is dry")

    async def handle(_request: Request, *, observed: bool = False) -> Response:
        return Response(200, stream=chunks(), content_type="text/plain")

    async with cove.embedded(nodes=0, controllers=False) as cluster:
        monkeypatch.setattr(cluster.server.api, "handle", handle)
        async with HttpServer(cluster.server.api, None) as plain:
            reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
            writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            await head_of(reader)
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(10):
                    told = await reader.read()
                assert told in (b"", b"5\r\nfirst\r\n")
            writer.transport.abort()
            await asyncio.sleep(0)
    # A client that went away is nothing to tell of.
    assert ("the source is dry" in caplog.text) == (error is RuntimeError)


@pytest.mark.parametrize("bad", ["x\r\nSet-Cookie: a=b", "x\ny", "x\ry", "x\0y"])
def test_no_header_can_begin_another(bad: str) -> None:
    for headers in ([("X-Told", bad)], [(bad, "told")]):
        with pytest.raises(ValueError, match="has a line break or a NUL in it"):
            Answer(Response(200, b"", headers=headers))
    with pytest.raises(ValueError, match="has a line break or a NUL in it"):
        Answer(Response(200, b"", content_type=bad))
