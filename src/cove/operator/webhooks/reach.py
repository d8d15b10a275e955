"""Whether, and where, an API server reaches this process: asked of the API server itself.

A webhook that is about one made-up label is registered, and an object with that label created
as a dry run.  Either the review arrives here, or the error says why it cannot.  Nothing is
kept.  The same tells whether the API server knows of what was registered before: it learns of
configurations in their order, a moment after they were written.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from cove.client import Client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.operator.webhooks.configurations import GROUP, KINDS, OPERATOR, ClientConfig
from cove.operator.webhooks.errors import UnreachableWebhooksError
from cove.operator.webhooks.review import admission_answer, read_admission
from cove.operator.webhooks.server import WebhookServer

__all__ = ["find_url", "wait_known"]

log = logging.getLogger("cove.operator.webhooks")
CONFIGMAPS = GVR("", "v1", "configmaps")
PROBE = "webhooks.cove.dev/probe"
NAMESPACE = "default"
# Seconds until an API server knows of a configuration, at most.
PATIENCE = 10.0


async def find_url(
    client: Client, operator: str, server: WebhookServer, urls: Sequence[str], ca_bundle: bytes
) -> str:
    """The first of the URLs at which the API server reaches ``server``.

    The first of all where the API server does not let us ask.  Raises
    UnreachableWebhooksError, which tells what the API server says of each.
    """
    problems: list[str] = []
    for url in urls:
        config = ClientConfig(url=url, ca_bundle=ca_bundle)
        try:
            problem = await _probe(client, operator, server, config, "validate")
        except StatusError as e:
            log.warning("whether the API server reaches %s cannot be asked: %s", urls[0], e)
            return urls[0]
        if not problem:
            return url
        problems.append(f"{url}: {problem}")
    raise UnreachableWebhooksError(
        f"the API server does not reach the webhooks of {operator}, which are served at "
        f"{server.host}:{server.port}:\n  "
        + "\n  ".join(problems)
        + "\nGive base_url an address of this machine that the API server can connect to: from "
        "containers of this machine https://host.docker.internal:PORT, listening at 0.0.0.0; "
        "from elsewhere a tunnel's."
    )


async def wait_known(
    client: Client, operator: str, server: WebhookServer, config: ClientConfig, kinds: Sequence[str]
) -> None:
    """Return when the API server asks who is registered in these kinds of configurations."""
    for kind in kinds:
        try:
            problem = await _probe(client, operator, server, config, kind)
        except StatusError as e:
            problem = str(e)
        if problem:
            log.warning("whether webhooks that %s are asked already: %s", kind, problem)


async def _probe(
    client: Client, operator: str, server: WebhookServer, config: ClientConfig, kind: str
) -> str:
    """ "" where it got here, else what the API server says."""
    token = secrets.token_hex(8)
    path = f"/probe/{token}"
    arrived = asyncio.Event()

    async def answer(data: bytes) -> bytes:
        arrived.set()
        return admission_answer(read_admission(data))

    with server.route(path, answer):
        return await _ask(client, operator, token, config.at(path), kind, arrived)


async def _ask(
    client: Client,
    operator: str,
    token: str,
    client_config: dict[str, Any],
    kind: str,
    arrived: asyncio.Event,
) -> str:
    name, gvr = f"probe-{token}.cove.dev", KINDS[kind][1]
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    webhook = {
        "name": name,
        "clientConfig": client_config,
        "rules": [rule],
        "objectSelector": {"matchLabels": {PROBE: token}},
        "sideEffects": "None",
        "timeoutSeconds": 3,
        "admissionReviewVersions": ["v1"],
    }
    called = f"{operator}-probe-{token}"
    metadata = {"name": called, "labels": {OPERATOR: operator}}
    document = {
        "apiVersion": f"{GROUP}/v1",
        "kind": KINDS[kind][0],
        "metadata": metadata,
        "webhooks": [webhook],
    }
    dummy = {"metadata": {"name": f"webhook-probe-{token}", "labels": {PROBE: token}}}
    await client.create(gvr, document, field_manager=f"{operator}-webhooks")
    try:
        async with asyncio.timeout(PATIENCE):
            while not arrived.is_set():
                try:
                    await client.create(CONFIGMAPS, dummy, NAMESPACE, dry_run=True)
                except StatusError as e:
                    if name not in e.message:
                        raise
                    return e.message.rpartition("failed to call webhook: ")[2]
                if not arrived.is_set():
                    await asyncio.sleep(0.05)
    except TimeoutError:
        return f"no review came within {PATIENCE:g} s"
    finally:
        try:
            await client.delete(gvr, called)
        except StatusError as e:
            if e.code != 404:
                log.warning("%s is still there: %s", called, e)
    return ""
