"""Where a call goes: the ``clientConfig`` of webhooks, the ``service`` of APIServices."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cove.server.outgoing._tls import Trust

__all__ = ["Service", "Target", "target_of"]


class Service(NamedTuple):
    """A Service and one of its ports, by number."""

    namespace: str
    name: str
    port: int

    @property
    def host(self) -> str:
        """The name that its serving certificate has to be valid for."""
        return f"{self.name}.{self.namespace}.svc"


class Target(NamedTuple):
    """An address as errors tell it.  ``service`` None: the URL is called as it is."""

    url: str
    trust: Trust
    service: Service | None = None


def bundle(text: str | None) -> bytes:
    """A ``caBundle`` as PEM, b"" for none."""
    try:
        return base64.b64decode(text or "").strip()
    except (binascii.Error, ValueError):
        return b""


def target_of(config: Mapping[str, Any]) -> Target:
    """The target of a webhook's ``clientConfig``: ``{"url": …}`` or ``{"service": {…}}``.

    Source: ``pkg/util/webhook/client.go`` of apiserver.
    """
    trust = Trust(bundle(config.get("caBundle")))
    reference = config.get("service")
    if reference is None:
        return Target(str(config.get("url") or ""), trust)
    service = Service(
        str(reference.get("namespace") or ""),
        str(reference.get("name") or ""),
        int(reference.get("port") or 443),
    )
    path = "/" + str(reference.get("path") or "").removeprefix("/")
    url = f"https://{service.host}:{service.port}{path}"
    return Target(url, trust._replace(server_name=service.host), service)


def is_https(url: str) -> bool:
    """Whether a URL is one that may be called."""
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.netloc)
