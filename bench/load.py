"""A load client that costs little: raw HTTP/1.1 over TLS on asyncio protocols.

Each client keeps one connection and has one request under way; requests are bytes made
before the clock starts where they can be.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

__all__ = ["Result", "Target", "run"]

CLIENTS = 8


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


class _Connection(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.need = -1
        self.chunked = False
        self.waiter: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None
        self.status = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TLS transports are Transports

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need < 0 and not self.chunked:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.buffer[:end]).lower()
            self.status = int(head[9:12])
            place = head.find(b"content-length:")
            if place >= 0:
                stop = head.find(b"\r\n", place)
                length = int(head[place + 15 : stop if stop > 0 else len(head)])
                self.need = end + 4 + length
            else:
                self.chunked = True
        if self.chunked:
            if not self.buffer.endswith(b"0\r\n\r\n"):
                return
        elif len(self.buffer) < self.need:
            return
        self.buffer.clear()
        self.need, self.chunked = -1, False
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
    requests = iter([make(i) for i in range(count)])
    latencies: list[float] = []
    failures = 0

    async def client(connection: _Connection) -> None:
        nonlocal failures
        for request in requests:
            begun = time.perf_counter()
            status = await connection.send(request)
            latencies.append(time.perf_counter() - begun)
            failures += status not in expect

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(client(connection))
    seconds = time.perf_counter() - begun
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    return Result(count, seconds, latencies, failures)
