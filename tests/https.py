"""HTTPS servers on loopback that a cluster calls: webhooks and extension servers."""

from __future__ import annotations

import base64
import inspect
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from aiohttp import web

from cove.pki import server_context
from cove.pki.authority import Authority

Review = dict[str, Any]
Answering = Callable[[Review], Any]


@cache
def authority() -> Authority:
    """Who signs the servers of all tests; another one than any cluster's."""
    return Authority.new("tests")


@cache
def _context(*names: str) -> ssl.SSLContext:
    context = server_context(authority().certificate, authority().server(names))
    # Whoever signed a client's certificate: these servers do not look at them.
    context.verify_mode = ssl.CERT_NONE
    return context


def bundle() -> str:
    """A ``caBundle`` that trusts the servers."""
    return base64.b64encode(authority().certificate).decode()


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], *names: str
) -> AsyncIterator[int]:
    """A server that ``handle`` answers for; the port.  Its certificate is for ``names``."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, "127.0.0.1", 0, ssl_context=_context("127.0.0.1", "localhost", *names)
        )
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Webhook:
    """A running webhook: what it was asked, and where it is."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[Review] = []
        self.paths: list[str] = []

    @property
    def client_config(self) -> dict[str, Any]:
        """How a configuration names it."""
        return {"url": f"https://127.0.0.1:{self.port}/review", "caBundle": bundle()}


@asynccontextmanager
async def webhook(answer: Answering, *names: str) -> AsyncIterator[Webhook]:
    """A webhook that answers requests (of whatever review) by a function, awaited if need be.

    Given a response it is wrapped; given a ``web.Response`` or a whole review it is not.
    """
    running: Webhook

    async def handle(request: web.Request) -> web.StreamResponse:
        review = await request.json()
        running.asked.append(review["request"])
        running.paths.append(str(request.rel_url))
        found = answer(review["request"])
        if inspect.isawaitable(found):
            found = await found
        if isinstance(found, web.StreamResponse):
            return found
        if "kind" not in found:
            response = {"uid": review["request"]["uid"], **found}
            kept = {k: review[k] for k in ("kind", "apiVersion")}
            found = {**kept, "response": response}
        return web.Response(text=json.dumps(found), content_type="application/json")

    async with serving(handle, *names) as port:
        running = Webhook(port)
        yield running


def allowed(_request: Review) -> Review:
    """Anything goes."""
    return {"allowed": True}


def patching(*operations: dict[str, Any]) -> Answering:
    """An answer with a JSON patch."""
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return lambda _request: {"allowed": True, "patch": patch, "patchType": "JSONPatch"}
