"""Images: what a registry holds, asked and deleted through its HTTP API.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urljoin

import aiohttp

from cove.node.registry.distribution import RegistryError

__all__ = ["Image", "ImageNotFoundError", "delete_image", "list_images"]

PAGE = 200
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class ImageNotFoundError(RegistryError):
    """The registry has no such image."""


class Image(NamedTuple):
    """One tag: ``shop/web``, ``v1``, ``sha256:…``."""

    repository: str
    tag: str
    digest: str


async def list_images(session: aiohttp.ClientSession, url: str) -> list[Image]:
    """Every tag there is, sorted."""
    out: list[Image] = []
    for repository in await _all(session, url, f"/v2/_catalog?n={PAGE}", "repositories"):
        for tag in await _all(session, url, f"/v2/{repository}/tags/list?n={PAGE}", "tags"):
            digest = await _digest(session, url, repository, tag)
            if digest:
                out.append(Image(repository, tag, digest))
    return sorted(out)


async def delete_image(session: aiohttp.ClientSession, url: str, name: str) -> Image:
    """Delete ``repository:tag`` and with it every tag of the same image; what it was.

    Raises ImageNotFoundError.
    """
    repository, _, tag = name.partition(":")
    digest = await _digest(session, url, repository, tag or "latest")
    if not digest:
        raise ImageNotFoundError(f"the registry has no image {repository}:{tag or 'latest'}")
    async with session.delete(f"{url}/v2/{repository}/manifests/{digest}") as answer:
        if answer.status not in (202, 404):
            raise RegistryError(f"{name} was not deleted: {answer.status} {await answer.text()}")
    return Image(repository, tag or "latest", digest)


async def _digest(session: aiohttp.ClientSession, url: str, repository: str, tag: str) -> str:
    at = f"{url}/v2/{repository}/manifests/{tag}"
    async with session.head(at, headers={"Accept": _ACCEPT}) as answer:
        if answer.status == 404:
            return ""
        if answer.status >= 400:
            raise RegistryError(f"the registry answered {answer.status} for {repository}:{tag}")
        return answer.headers["Docker-Content-Digest"]


async def _all(session: aiohttp.ClientSession, url: str, path: str, key: str) -> list[str]:
    """All pages of a list; nothing for what is not there any more."""
    out: list[str] = []
    at = url + path
    while at:
        async with session.get(at) as answer:
            if answer.status == 404:
                return out
            if answer.status >= 400:
                raise RegistryError(f"the registry answered {answer.status} for {path}")
            doc = await answer.json()
            following = answer.links.get("next")
            out += doc.get(key) or ()
            at = urljoin(at, str(following["url"])) if following else ""
    return out
