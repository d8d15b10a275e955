"""An operator at work on a cluster until it is told to stop: what ``run`` runs."""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from cove.operator.commands.connect import in_pod
from cove.operator.health import Check, Health, serving
from cove.operator.metrics import Metrics, MetricsError, metered, traced
from cove.operator.settings import Settings

if TYPE_CHECKING:
    from cove.client import Client
    from cove.operator.operator import Operator
    from cove.operator.runtime.runtime import Runtime

__all__ = ["run_operator"]

log = logging.getLogger("cove.operator")


async def run_operator(op: Operator, client: Client, settings: Settings) -> None:
    """Tell of its health, serve its webhooks, choose who works if it has to, and work.

    Until cancelled.  The client's namespace is the operator's own: in a pod the pod's.
    """
    own = os.environ.get("POD_NAMESPACE") or client.namespace
    namespaces = settings.namespaces or ((own,) if settings.namespaced else ())
    asked = _asked(settings)
    metrics = _metrics(asked)
    meters = traced(metrics)
    if metrics is not None:
        client = metered(client, metrics)

    def runtime() -> Runtime:
        made = op.runtime(client, namespaces=namespaces, meters=meters)
        health.follow(made)
        return made

    async with AsyncExitStack() as stack:
        health = await stack.enter_async_context(Health(op.checks, synced=not op.converters))
        await stack.enter_async_context(serving(asked, health, metrics))
        if op.validators or op.mutators or op.converters:
            await _webhooks(stack, op, client, settings, own, health)
        if settings.shards > 1:
            from cove.operator.leadership import Shards, run_sharded

            shards = await stack.enter_async_context(
                Shards(client, op.name, own, settings.shards, leadership=settings.leadership)
            )
            if metrics is not None:
                metrics.follow_shards(shards)
            await run_sharded(runtime, shards)
        elif settings.leadership is not None:
            from cove.operator.leadership import Elector, run_elected

            elector = await stack.enter_async_context(
                Elector(client, op.name, own, leadership=settings.leadership)
            )
            if metrics is not None:
                metrics.follow(elector)
            await run_elected(runtime, elector)
        else:
            await (await stack.enter_async_context(runtime())).work()


def _asked(settings: Settings) -> Settings:
    """Outside of a pod nobody probes: there only ports that were chosen are served."""
    if in_pod():
        return settings
    usual = Settings()
    return replace(
        settings,
        health_port=0 if settings.health_port == usual.health_port else settings.health_port,
        metrics_port=0 if settings.metrics_port == usual.metrics_port else settings.metrics_port,
    )


def _metrics(settings: Settings) -> Metrics | None:
    if not settings.metrics_port:
        return None
    try:
        return Metrics()
    except MetricsError as e:
        if settings.metrics_port != Settings().metrics_port:
            raise
        log.warning("no metrics are served: %s", e)
        return None


async def _webhooks(
    stack: AsyncExitStack,
    op: Operator,
    client: Client,
    settings: Settings,
    own: str,
    health: Health,
) -> None:
    from cove.operator.webhooks import Webhooks

    served = False

    async def webhooks() -> bool:
        return served

    health.add(Check("webhooks", webhooks))
    if in_pod() and settings.base_url is None:
        service = (own, os.environ.get("COVE_OPERATOR_SERVICE") or op.name)
        hooks = Webhooks(op, client, service=service, port=settings.webhook_port)
    else:
        hooks = Webhooks(op, client, base_url=settings.base_url)
    await stack.enter_async_context(hooks)
    served = True
