"""Registries: where images go so that the cluster has them, and what is there already.

The cluster says itself which registry it pulls from, in the ConfigMap
``local-registry-hosting`` of ``kube-public`` (KEP-1755): cove's own does, and so do kind, k3d
and others.  Somebody may name another; nodes of k3s in containers are given images
directly where there is none.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from cove.client import Client
from cove.dev.errors import PushError
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

__all__ = ["RegistryAddress", "credentials", "digest_of", "hosted", "local"]

CONFIG_MAPS = GVR("", "v1", "configmaps")
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_PATIENCE = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """A registry by its two names; ``source`` is who said so.

    ``host`` is what this machine pushes to, with a path if there is one; ``pods`` what nodes
    pull the same from.
    """

    host: str
    pods: str
    source: str

    def __str__(self) -> str:
        return f"{self.host} ({self.source})"


async def hosted(client: Client) -> RegistryAddress | None:
    """The registry that the cluster names, None if it names none."""
    try:
        found = await client.get(CONFIG_MAPS, "local-registry-hosting", "kube-public")
    except StatusError as e:
        if e.code in (403, 404):
            return None
        raise
    try:
        told = yaml.safe_load((found.get("data") or {}).get("localRegistryHosting.v1") or "")
    except yaml.YAMLError:
        return None
    if not isinstance(told, Mapping) or not told.get("host"):
        return None
    host = str(told["host"])
    pods = str(told.get("hostFromContainerRuntime") or host)
    return RegistryAddress(host, pods, "kube-public/local-registry-hosting of the cluster")


def local(host: str) -> bool:
    """Whether a registry is spoken to without TLS, as engines do with this machine's."""
    name = host.partition("/")[0].rpartition(":")[0] or host.partition("/")[0]
    return name in ("localhost", "127.0.0.1", "[::1]") or name.endswith(".localhost")


async def digest_of(repository: str, tag: str) -> str | None:
    """The digest of an image in its registry, "" if it has none, None if it does not say.

    Raises PushError when a registry of this machine does not answer: a push would not, either.
    """
    host, _, path = repository.partition("/")
    scheme = "http" if local(host) else "https"
    url = f"{scheme}://{host}/v2/{path}/manifests/{tag}"
    headers = {"Accept": _ACCEPT}
    try:
        async with (
            aiohttp.ClientSession(timeout=_PATIENCE) as session,
            session.head(url, headers=headers) as answer,
        ):
            if answer.status == 200:
                return answer.headers.get("Docker-Content-Digest")
            return "" if answer.status == 404 else None
    except (aiohttp.ClientError, OSError, TimeoutError) as e:
        if local(host):
            raise PushError(
                f"the registry {host} does not answer ({str(e) or type(e).__name__}): is the "
                "cluster up? `cove dev up` starts both"
            ) from e
        return None


def credentials(host: str, environ: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """What ``docker login`` has kept for a registry in its file; helpers are not asked."""
    environ = os.environ if environ is None else environ
    folder = environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    try:
        doc: Any = json.loads((Path(folder) / "config.json").read_text())
        entry = (doc.get("auths") or {}).get(host.partition("/")[0]) or {}
        user, _, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except (OSError, ValueError, AttributeError):
        return None
    if not user:
        return None
    return {"username": user, "password": password, "serveraddress": host.partition("/")[0]}
