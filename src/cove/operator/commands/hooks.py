"""Registering webhooks from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from cove.operator.errors import EntityError
from cove.operator.webhooks import Certificates, ClientConfig, Webhooks
from cove.operator.webhooks.registration import Registration

if TYPE_CHECKING:
    from cove.client import Client
    from cove.operator.operator import Operator

__all__ = ["install_webhooks", "serve_webhooks"]


def _some(op: Operator) -> None:
    if not (op.validators or op.mutators or op.converters):
        raise EntityError(f"{op.name} has no webhooks: op.validate, op.mutate, op.convert")


async def install_webhooks(op: Operator, client: Client, service: tuple[str, str]) -> None:
    """Register what is asked at a Service (namespace, name), with certificates in its Secret.

    Who serves them later takes the certificates from there.
    """
    _some(op)
    namespace, name = service
    names = [f"{name}.{namespace}.svc", f"{name}.{namespace}", name]
    secret = (namespace, f"{op.name}-webhooks")
    async with Certificates(op.name, names, client=client, secret=secret) as certificates:

        def config() -> ClientConfig:
            return ClientConfig(service=service, ca_bundle=certificates.keys.bundle)

        async with Registration(op, client, config, development=False):
            pass  # in a cluster, what is registered stays


async def serve_webhooks(
    op: Operator,
    client: Client,
    base_url: str | None,
    *,
    tunnel: bool,
    say: Callable[[str], None],
) -> None:
    """Serve them from this process, registered until cancelled."""
    _some(op)
    async with Webhooks(op, client, base_url=base_url, tunnel=tunnel) as hooks:
        say(f"the webhooks of {op.name} are registered at {hooks.base_url}; Ctrl-C ends it")
        await asyncio.Event().wait()
