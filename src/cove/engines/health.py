"""Health: whether a cluster's API answers with all its nodes ready, and what to say if not.

Asked often, by whoever waits for a cluster: one request over the connection there is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cove.client.errors import ClientError, UnreachableError
from cove.engines.cluster import Health
from cove.kube.gvk import GVR
from cove.kube.status import CoveError, StatusError

if TYPE_CHECKING:
    from cove.client import Client

__all__ = ["ASKING", "NODES", "health_of", "judged", "nodes_of", "readyz", "stale", "why_not"]

Doc = Mapping[str, Any]
NODES = GVR("", "v1", "nodes")
# Seconds in which an API server that is well has answered.
PATIENCE = 10.0
# What asking an API server may end with.
ASKING = (CoveError, OSError, TimeoutError)


async def health_of(client: Client, wanted: int) -> Health:
    """Whether at least ``wanted`` nodes are ready.  Never raises, but when cancelled."""
    try:
        return judged(await nodes_of(client), wanted)
    except ASKING as e:
        return Health(False, why_not(e))


async def nodes_of(client: Client) -> list[dict[str, Any]]:
    """The nodes there are; raises one of :data:`ASKING`."""
    async with asyncio.timeout(PATIENCE):
        return (await client.list(NODES)).items


async def readyz(client: Client) -> Health:
    """What the server says of itself, for who may not see nodes."""
    try:
        async with asyncio.timeout(PATIENCE):
            await client.raw("GET", "/readyz")
    except ASKING as e:
        return Health(False, why_not(e))
    return Health(True)


def judged(nodes: list[dict[str, Any]], wanted: int) -> Health:
    """What nodes say of a cluster that is to have ``wanted`` of them, or more."""
    waiting = {n["metadata"]["name"]: _unready(n) for n in nodes}
    reasons = [f"{name} {why}" for name, why in waiting.items() if why]
    ready = len(nodes) - len(reasons)
    if ready >= wanted:
        return Health(True)
    if not nodes:
        return Health(False, f"the API server answers; none of {wanted} nodes has registered yet")
    missing = wanted - len(nodes)
    if missing > 0:
        reasons.append(f"{missing} {'has' if missing == 1 else 'have'} not registered yet")
    return Health(False, f"{ready} of {wanted} nodes ready: {'; '.join(reasons)}")


def _unready(node: Doc) -> str:
    """Why a node is not ready, "" for one that is."""
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            if condition.get("status") == "True":
                return ""
            why = condition.get("message") or condition.get("reason")
            return f"is not ready ({why})" if why else "is not ready"
    return "has not said that it is ready"


def why_not(error: BaseException) -> str:
    """A sentence on an API server that did not answer as it should."""
    if isinstance(error, StatusError):
        if error.code == 401:
            return "the API server does not know these credentials (401)"
        if error.code == 403:
            return f"the API server does not allow it (403): {error.message}"
        return f"the API server answers {error.code}: {error.message}"
    if stale(error):
        return f"the API server's certificate is not the one of this kubeconfig: {error}"
    if isinstance(error, TimeoutError):
        return f"the API server has not answered in {PATIENCE:.0f} s"
    if isinstance(error, UnreachableError):
        return f"the API server does not answer: {error}"
    if isinstance(error, ClientError):
        return str(error)
    return f"the API server does not answer: {str(error) or type(error).__name__}"


def stale(error: BaseException) -> bool:
    """Whether an error tells that credentials are those of an earlier cluster.

    A server that cannot be verified and 401 do; 403 comes from a server that
    knows very well who asks.
    """
    if isinstance(error, StatusError):
        return error.code == 401
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return True
        seen = seen.__cause__
    return False
