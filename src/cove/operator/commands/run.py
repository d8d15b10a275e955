"""An operator at work on a cluster until it is told to stop: what ``run`` runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from cove.operator.commands.connect import in_pod
from cove.operator.settings import Settings

if TYPE_CHECKING:
    from cove.client import Client
    from cove.operator.operator import Operator
    from cove.operator.runtime.runtime import Runtime

__all__ = ["run_operator"]


async def run_operator(op: Operator, client: Client, settings: Settings) -> None:
    """Serve its webhooks, choose a leader if it has to, and work; until cancelled.

    The client's namespace is the operator's own: in a pod the pod's.
    """
    own = os.environ.get("POD_NAMESPACE") or client.namespace
    namespaces = settings.namespaces or ((own,) if settings.namespaced else ())

    def runtime() -> Runtime:
        return op.runtime(client, namespaces=namespaces)

    async with AsyncExitStack() as stack:
        ready = asyncio.Event()
        if in_pod() and settings.health_port:
            await stack.enter_async_context(_healthy(settings, ready))
        if op.validators or op.mutators or op.converters:
            await _webhooks(stack, op, client, settings, own)
        # Who waits to lead is ready, too: its webhooks are asked.
        ready.set()
        if settings.leadership is not None:
            from cove.operator.leadership import Elector, run_elected

            elector = Elector(client, op.name, own, leadership=settings.leadership)
            await run_elected(runtime, await stack.enter_async_context(elector))
        else:
            await (await stack.enter_async_context(runtime())).work()


@asynccontextmanager
async def _healthy(settings: Settings, ready: asyncio.Event) -> AsyncIterator[None]:
    """Say to the kubelet that this process answers, and whether it may be asked."""
    from aiohttp import web

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        if ready.is_set():
            return web.Response(text="ok\n")
        return web.Response(text="it starts\n", status=503)

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.health_port).start()
        yield
    finally:
        await runner.cleanup()


async def _webhooks(
    stack: AsyncExitStack, op: Operator, client: Client, settings: Settings, own: str
) -> None:
    from cove.operator.webhooks import Webhooks

    if in_pod() and settings.base_url is None:
        service = (own, os.environ.get("COVE_OPERATOR_SERVICE") or op.name)
        hooks = Webhooks(op, client, service=service, port=settings.webhook_port)
    else:
        hooks = Webhooks(op, client, base_url=settings.base_url)
    await stack.enter_async_context(hooks)
