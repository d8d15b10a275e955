"""Two load clients: :func:`run` costs little, :func:`run_sessions` is what a Python program would use.

The first is raw HTTP/1.1 over TLS on asyncio protocols, so that what it meets are the limits of the server.  The second is
aiohttp's client on asyncio's own loop: with it the floor is where the goals' is, 9,200–11,000/s.  Each client keeps one connection and has one request under way; requests are bytes made before the clock
starts where they can be.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import yaml

__all__ = ["Load", "Result", "Target", "run", "run_sessions"]

CLIENTS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A server and how to prove who we are."""

    host: str
    port: int
    prefix: str
    context: ssl.SSLContext | None
    token: str = ""

    @classmethod
    def of_kubeconfig(cls, path: Path) -> Target:
        """The current context of a kubeconfig with inline or file credentials."""
        doc = yaml.safe_load(path.read_text())
        context = _named(doc, "contexts", doc["current-context"])["context"]
        cluster = _named(doc, "clusters", context["cluster"])["cluster"]
        user = _named(doc, "users", context["user"])["user"]
        url = urlsplit(cluster["server"])

        def blob(where: dict[str, str], key: str) -> bytes | None:
            if where.get(f"{key}-data"):
                return base64.b64decode(where[f"{key}-data"])
            return (path.parent / where[key]).read_bytes() if where.get(key) else None

        tls = ssl.create_default_context()
        authority = blob(cluster, "certificate-authority")
        if authority:
            tls.load_verify_locations(cadata=authority.decode())
        else:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        certificate, key = blob(user, "client-certificate"), blob(user, "client-key")
        if certificate and key:
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + key)
                file.flush()
                tls.load_cert_chain(file.name)
        return cls(
            url.hostname or "", url.port or 443, url.path.rstrip("/"), tls, user.get("token", "")
        )

    def request(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> bytes:
        """The bytes of a request."""
        lines = [
            f"{method} {self.prefix}{path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "User-Agent: bench/1",
            "Accept: application/json",
        ]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if body or method in ("POST", "PUT", "PATCH"):
            lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _named(
    doc: dict[str, list[dict[str, dict[str, str]]]], key: str, name: object
) -> dict[str, dict[str, str]]:
    return next(e for e in doc[key] if e["name"] == name)


@dataclass(frozen=True)
class Result:
    """What a run of many requests took."""

    count: int
    seconds: float
    latencies: Sequence[float]
    failures: int

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds that ``share`` of the requests stayed below."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.BufferedProtocol):
    """One connection with one request under way.

    Of an answer only the head is kept: long ones are counted where they were decrypted, so that a list
    measures the server and not what a client would make of it.
    """

    def __init__(self) -> None:
        self.space = memoryview(bytearray(256 * 1024))
        self.head = b""
        # The last bytes of a chunked body, what is to come of one with a length.
        self.tail = b""
        self.left = -1
        self.chunked = False
        self.waiter: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TLS transports are Transports

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.space

    def buffer_updated(self, count: int) -> None:
        data = self.space[:count]
        if self.left < 0 and not self.chunked:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self.head[:end].lower(), memoryview(self.head)[end + 4 :]
            self.head = b""
            self.status = int(head[9:12])
            place = head.find(b"content-length:")
            if place >= 0:
                stop = head.find(b"\r\n", place)
                self.left = int(head[place + 15 : stop if stop > 0 else len(head)])
            else:
                self.chunked = True
        if self.chunked:
            self.tail = (self.tail + data[-5:])[-5:]
            if self.tail != b"0\r\n\r\n":
                return
        else:
            self.left -= len(data)
            if self.left > 0:
                return
        self.left, self.chunked, self.tail = -1, False, b""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(self.status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(exc or ConnectionResetError("the server hung up"))

    async def send(self, request: bytes) -> int:
        """Send one request; the status of its answer."""
        self.waiter = asyncio.get_running_loop().create_future()
        assert self.transport is not None
        self.transport.write(request)
        return await self.waiter


async def run(
    target: Target,
    make: Callable[[int], bytes],
    count: int,
    *,
    clients: int = CLIENTS,
    expect: Sequence[int] = (200, 201),
) -> Result:
    """Send ``count`` requests, ``make(i)`` being the i-th, from ``clients`` at once."""
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(clients):
        _, connection = await loop.create_connection(
            _Connection, target.host, target.port, ssl=target.context
        )
        connections.append(connection)
    result = await _timed([c.send for c in connections], [make(i) for i in range(count)], expect)
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    return result


async def _timed(
    clients: Sequence[Callable[[T], Awaitable[int]]], work: Sequence[T], expect: Sequence[int]
) -> Result:
    """Each client takes the next request as soon as its last one is answered, with a status."""
    requests = iter(work)
    latencies: list[float] = []
    failures = 0

    async def one(send: Callable[[T], Awaitable[int]]) -> None:
        nonlocal failures
        for request in requests:
            begun = time.perf_counter()
            status = await send(request)
            latencies.append(time.perf_counter() - begun)
            failures += status not in expect

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for send in clients:
            group.create_task(one(send))
    return Result(len(work), time.perf_counter() - begun, latencies, failures)


async def run_sessions(
    target: Target,
    make: Callable[[int], bytes],
    count: int,
    *,
    clients: int = CLIENTS,
    expect: Sequence[int] = (200, 201),
) -> Result:
    """As :func:`run`, by aiohttp's client, in a thread with a loop of asyncio's own."""
    return await asyncio.to_thread(asyncio.run, _sessions(target, make, count, clients, expect))


async def _sessions(
    target: Target,
    make: Callable[[int], bytes],
    count: int,
    clients: int,
    expect: Sequence[int],
) -> Result:
    import aiohttp

    connector = aiohttp.TCPConnector(ssl=target.context or False, limit=clients)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def send(request: Parts) -> int:
            method, url, headers, body = request
            async with session.request(method, url, headers=headers, data=body) as response:
                await response.read()
                return response.status

        return await _timed(
            [send] * clients, [_parts(target, make(i)) for i in range(count)], expect
        )


Parts = tuple[str, str, dict[str, str], bytes | None]


def _parts(target: Target, request: bytes) -> Parts:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    del headers["Host"]
    scheme = "https" if target.context else "http"
    return method, f"{scheme}://{target.host}:{target.port}{path}", headers, body or None


class Load(Protocol):
    """How :func:`run` and :func:`run_sessions` are called."""

    def __call__(
        self,
        target: Target,
        make: Callable[[int], bytes],
        count: int,
        *,
        clients: int = CLIENTS,
        expect: Sequence[int] = (200, 201),
    ) -> Awaitable[Result]: ...
