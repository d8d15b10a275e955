"""Which engines will work on this machine, and why not; nothing is started or changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.node.docker import EngineAddress

__all__ = ["Outlook", "outlooks"]


class Outlook(NamedTuple):
    """An engine: whether it will work, and a sentence on how, or why not."""

    engine: str
    works: bool
    detail: str


def outlooks() -> list[Outlook]:
    """One for each way to have a cluster."""
    return [_embedded(), _containers(), _native(), _existing()]


def _embedded() -> Outlook:
    return Outlook("embedded", True, "it needs nothing; what runs its pods is told above")


def _containers() -> Outlook:
    from cove.engines.cluster import ClusterOptions
    from cove.engines.door import engine_for
    from cove.engines.k3s import spec
    from cove.node.docker import EngineError

    name = "k3s (containers)"
    try:
        address = engine_for(None, "k3s needs Docker or Podman")
        return asyncio.run(_told_of(name, address, spec.image(ClusterOptions(), "server")))
    except (EngineError, CoveError) as e:
        return Outlook(name, False, str(e))


async def _told_of(name: str, address: EngineAddress, image: str) -> Outlook:
    from cove.engines.k3s.machine import obstacles
    from cove.node.docker.connection import Engine

    async with Engine(address) as engine:
        found = obstacles(engine.info, engine.kind, image)
        there = await engine.image(image) is not None
    what = "is there" if there else "will be fetched"
    told = [f"privileged containers in {address}; the image {image} {what}", *found]
    return Outlook(name, not found, "; ".join(told))


def _native() -> Outlook:
    from cove.engines.k3s.native import obstacle

    why = obstacle()
    return Outlook("k3s (native)", not why, why or "the program k3s of this machine")


def _existing() -> Outlook:
    from cove.client import kubeconfig
    from cove.engines.existing import allowed, loopback, standalone

    name = "existing"
    try:
        merged = kubeconfig.read(None)
        doc = standalone(merged, None)
        permitted = allowed()
    except (CoveError, OSError) as e:
        return Outlook(name, False, f"no context to use: {e}")
    context, cluster = doc["current-context"], doc["clusters"][0]["cluster"]
    server = str(cluster.get("server") or "")
    if (loopback(server) and not cluster.get("proxy-url")) or context in permitted:
        return Outlook(name, True, f"the current context {context} leads to {server}")
    return Outlook(
        name,
        False,
        f"the current context {context} leads to {server}, beyond this machine, and was not "
        f"allowed: `export COVE_ALLOW_CONTEXTS={context}`",
    )
