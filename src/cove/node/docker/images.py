"""Images: those that are there, those that have to be fetched, and what goes wrong with it.

An image the engine built itself (it was never pulled from anywhere) is used even where the
policy is Always: there is nowhere to fetch it from.

Source: https://kubernetes.io/docs/concepts/containers/images/, ``pkg/kubelet/images``
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from cove.client import Clock
from cove.kube.status import CoveError
from cove.node.docker.connection import DockerError, Engine

__all__ = ["Image", "ImageError", "Images", "itself"]

Doc = Mapping[str, Any]
Tell = Callable[[str, str, str], None]

_REFERENCE = re.compile(
    r"(?:(?P<host>[a-zA-Z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


class ImageError(CoveError):
    """An image cannot be had; ``reason`` is what the container waits for."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Image(NamedTuple):
    """An image the engine has: its id, its name and what a status calls it."""

    id: str
    name: str
    shown: str
    user: str


async def itself(image: str) -> str:
    """An engine that has no other name for anything."""
    return image


def normal(name: str) -> str:
    """With the tag that is meant when none is said."""
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


class Images:
    """The images of one engine; concurrent wishes for one are fetched once.

    ``local`` says under which name the engine fetches what pods call otherwise: images of
    the cluster's registry, of mirrors.
    """

    def __init__(
        self, engine: Engine, clock: Clock, local: Callable[[str], Awaitable[str]]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self.local = local
        self._pulls: dict[str, asyncio.Future[None]] = {}

    async def ensure(self, container: Doc, secrets: list[Doc], tell: Tell) -> Image:
        """The image of a container, fetched if its policy wants that.

        ``tell(type, reason, message)`` records events.  Raises :class:`ImageError`.
        """
        asked = str(container["image"])
        if not _REFERENCE.fullmatch(asked):
            raise ImageError(
                "InvalidImageName",
                f'Failed to apply default image tag "{asked}": couldn\'t parse image name '
                f'"{asked}": invalid reference format',
            )
        name = normal(asked)
        policy = container.get("imagePullPolicy") or "IfNotPresent"
        found: Doc | None = await self._engine.image(name)
        if found is not None and (policy != "Always" or not found.get("RepoDigests")):
            tell("Normal", "Pulled", f'Container image "{asked}" already present on machine')
        elif policy == "Never":
            tell("Warning", "ErrImageNeverPull", _never(asked))
            raise ImageError("ErrImageNeverPull", _never(asked))
        else:
            name, found = await self._fetch(asked, name, secrets, tell)
        assert found is not None
        config = found.get("Config") or {}
        digests = found.get("RepoDigests") or ()
        shown = digests[0] if digests else str(found["Id"])
        return Image(
            str(found["Id"]),
            name,
            f"docker-pullable://{shown}" if digests else f"docker://{shown}",
            str(config.get("User") or ""),
        )

    async def _fetch(
        self, asked: str, name: str, secrets: list[Doc], tell: Tell
    ) -> tuple[str, Doc]:
        """(the name the engine has it under, the image)."""
        tell("Normal", "Pulling", f'Pulling image "{asked}"')
        begun = self._clock.monotonic()
        try:
            local = await self.local(name)
            await self._pull(local, _auth(name, secrets))
            if local != name and "@" not in name:
                await self._engine.tag(local, name)
            elif local != name:
                name = local  # a digest is no name to give
        except DockerError as e:
            message = f'failed to pull and unpack image "{asked}": {e}'
            tell("Warning", "Failed", f'Failed to pull image "{asked}": {message}')
            tell("Warning", "Failed", "Error: ErrImagePull")
            raise ImageError("ErrImagePull", message) from e
        found = await self._engine.image(name)
        if found is None:
            raise ImageError("ErrImagePull", f'image "{asked}" was fetched and is not there')
        took = self._clock.monotonic() - begun
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{asked}" in {took:.3f}s ({took:.3f}s including waiting). '
            f"Image size: {found.get('Size', 0)} bytes.",
        )
        return name, found

    async def _pull(self, name: str, auth: Doc | None) -> None:
        """Fetch it; who wants the same meanwhile waits for that."""
        running = self._pulls.get(name)
        if running is not None:
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                if not running.cancelled():
                    raise
            else:
                return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pulls[name] = future
        try:
            await self._engine.pull(name, auth)
        except BaseException as e:
            if isinstance(e, Exception):
                future.set_exception(e)
                future.exception()  # perhaps nobody waits for it
            else:
                future.cancel()
            raise
        else:
            future.set_result(None)
        finally:
            del self._pulls[name]


def _never(name: str) -> str:
    return f'Container image "{name}" is not present with pull policy of Never'


def _auth(name: str, secrets: list[Doc]) -> Doc | None:
    """The credentials for an image's registry out of imagePullSecrets."""
    host = name.partition("/")[0]
    if "/" not in name or not ("." in host or ":" in host or host == "localhost"):
        host = "docker.io"
    for secret in secrets:
        data = secret.get("data") or {}
        try:
            if ".dockerconfigjson" in data:
                entries = json.loads(b64decode(data[".dockerconfigjson"])).get("auths") or {}
            elif ".dockercfg" in data:
                entries = json.loads(b64decode(data[".dockercfg"]))
            else:
                continue
        except ValueError:
            continue
        for key, entry in entries.items():
            server = key.partition("://")[2] or key
            server = server.partition("/")[0]
            if server == host or (host == "docker.io" and server.endswith("docker.io")):
                return _credentials(entry, server)
    return None


def _credentials(entry: Doc, server: str) -> Doc:
    user, password = entry.get("username", ""), entry.get("password", "")
    if not user and entry.get("auth"):
        user, _, password = b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return {"username": user, "password": password, "serveraddress": server}
