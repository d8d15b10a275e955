"""A kubelet's log endpoint that tests write to: a real HTTP server in place of a node's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from files_world import Sent, Spy

from cove.client import Client, Connection, HttpTransport, kubeconfig
from cove.engines.embedded import Running
from cove.files import Tree


class LogSource:
    """What containers wrote, by name; with "previous/" before it, what they wrote before."""

    def __init__(self) -> None:
        self.texts: dict[str, bytearray] = {}
        # Pieces made as they are sent, for logs that are too long to be kept.
        self.endless: dict[str, Callable[[], Any]] = {}
        # Files that are sent as they are.
        self.files: dict[str, Path] = {}
        self.asked: list[Sent] = []
        self.sent = 0
        self._grown = asyncio.Event()
        self._ended: set[str] = set()

    def write(self, container: str, text: str) -> None:
        """A container writes; whoever follows is sent it."""
        self.texts.setdefault(container, bytearray()).extend(text.encode())
        self._wake()

    def rotate(self, container: str, text: str) -> None:
        """The log begins anew."""
        self.texts[container] = bytearray(text.encode())
        self._wake()

    def end(self, container: str) -> None:
        """The container ends: so do those who follow."""
        self._ended.add(container)
        self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As a kubelet's answer comes through an API server."""
        accept = request.headers.get("Accept", "")
        self.asked.append(Sent(request.method, request.path, request.query_string, accept))
        if accept != "*/*":
            return web.json_response({"kind": "Status", "message": "not acceptable"}, status=406)
        container = request.query["container"]
        if request.query.get("previous"):
            container = f"previous/{container}"
        if container in self.files:
            response = web.StreamResponse()
            response.content_length = self.files[container].stat().st_size
            await response.prepare(request)
            with self.files[container].open("rb") as file:
                while piece := file.read(4 << 20):
                    await response.write(piece)
            return response
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        if container in self.endless:
            await response.prepare(request)
            for piece in self.endless[container]():
                await response.write(piece)
                self.sent += len(piece)
            return response
        if container not in self.texts:
            message = f'container "{container}" is waiting to start: ContainerCreating'
            status = {"kind": "Status", "reason": "BadRequest", "message": message, "code": 400}
            return web.json_response(status, status=400)
        await response.prepare(request)
        offset = 0
        while True:
            grown = self._grown
            text = bytes(self.texts[container])
            if request.query.get("timestamps"):
                lines = text.decode().splitlines(keepends=True)
                text = "".join(f"2024-01-01T00:00:00Z {line}" for line in lines).encode()
            if len(text) > offset:
                await response.write(text[offset:])
                offset = len(text)
            if not request.query.get("follow") or container in self._ended:
                return response
            await grown.wait()


@asynccontextmanager
async def logging_tree(cluster: Running, **options: Any) -> AsyncIterator[tuple[Tree, LogSource]]:
    """A tree of a cluster whose pods' logs come from a source of ours."""
    source = LogSource()
    app = web.Application()
    app.router.add_get("/{path:.*}", source.answer)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        logs = HttpTransport(Connection(server=f"http://127.0.0.1:{port}"))

        class Switch(Spy):
            def stream(self, method: str, path: str, **more: Any) -> Any:
                inner = logs if path.endswith("/log") else self.inner
                return inner.stream(method, path, **more)

        inner = HttpTransport(kubeconfig.load(cluster.kubeconfig_path))
        async with logs, Client(Switch(inner)) as client, Tree(client, **options) as tree:
            yield tree, source
    finally:
        await runner.cleanup()
