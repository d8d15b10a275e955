"""A proxy in front of a real API server, and programs that listen where pods would."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from edge import HERE, Edge, translated

from cove.client import Informers
from cove.engines.embedded import EmbeddedCluster
from cove.node.ingress import IngressProxy


@pytest.fixture
async def edge(api: EmbeddedCluster, tmp_path: Path) -> AsyncIterator[Edge]:
    """A running proxy with nothing to serve; addresses of this machine are claimed."""
    async with (
        Informers(api.client, transform=translated) as informers,
        IngressProxy(
            api.client,
            authority=lambda: api.authority,
            folder=tmp_path,
            informers=informers,
            http_port=0,
            https_port=0,
            domains=["cove.localhost", "shop.test"],
            claims=lambda address: address.startswith(HERE),
        ) as proxy,
        Edge(api, proxy) as made,
    ):
        yield made


@pytest.fixture
def trusting() -> Callable[[bytes], ssl.SSLContext]:
    """TLS that believes one authority alone."""

    def make(authority: bytes) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=authority.decode())
        context.set_alpn_protocols(["http/1.1"])
        return context

    return make
