"""Registry: where images of this machine are pushed to and a cluster's nodes pull from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import aiohttp

from cove.client import Client, Clock
from cove.node.registry import images
from cove.node.registry.distribution import Distribution, RegistryError, find_program
from cove.node.registry.hosting import announce
from cove.node.registry.images import Image
from cove.node.registry.references import NAME, local_reference, parse

__all__ = ["PORT", "Registry"]

log = logging.getLogger("cove.node")

# Where everybody expects a registry.
PORT = 5000

# Left by a deletion: at the next start there is something to free.
_DELETED = "deleted"


class Registry:
    """``async with Registry(folder) as registry``: images live in ``folder``.

    ``port`` 0 takes a free one.  It listens on loopback and, for pods, on each of
    ``gateways`` under the same port, and under :data:`PORT`, which ``alias`` — a host's name
    that pods resolve to a gateway — is completed by: ``shop.internal:5000``.  ``mirrors`` are URLs of other registries by the host
    that images name (``{"docker.io": "https://registry-1.docker.io"}``): one process each,
    started when its first image is asked for, keeps what was pulled through it.

    Raises :class:`NoRegistryError` where there is no program to run, RegistryError for a
    port that is taken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        gateways: Sequence[str] = (),
        mirrors: Mapping[str, str] | None = None,
        alias: str = "",
        binary: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.alias = alias
        self.mirrors = dict(mirrors or {})
        self._wanted = port
        self._gateways = tuple(gateways)
        self._binary = binary
        self._clock = clock
        self._started: dict[str, Distribution] = {}
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    @property
    def port(self) -> int:
        """The port of every address."""
        return self._main.port

    @property
    def address(self) -> str:
        """``localhost:PORT``: what this machine pushes to and its engine pulls from."""
        return f"localhost:{self.port}"

    @property
    def name(self) -> str:
        """``registry.cove.localhost:PORT``: the name that means the same on host and in pods."""
        return f"{NAME}:{self.port}"

    async def __aenter__(self) -> Self:
        self._program = find_program(self._binary)
        async with AsyncExitStack() as stack:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._main = self._one(self.folder, port=self._wanted)
            mark = self.folder / _DELETED
            if mark.exists():
                await self._main.collect()
                mark.unlink()
            await stack.enter_async_context(self._main)
            for gateway in self._gateways:
                await stack.enter_async_context(
                    self._one(self.folder, address=gateway, port=self.port)
                )
            await self._listen_for_alias(stack)
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            async with self._session.get(f"{self._main.url}/v2/") as answer:
                if answer.status != 200:
                    raise RegistryError(f"the registry answers {answer.status} at {answer.url}")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._started.clear()
        await self._stack.aclose()

    async def _listen_for_alias(self, stack: AsyncExitStack) -> None:
        if not self.alias or self.port == PORT:
            return  # it listens there already
        for gateway in self._gateways:
            try:
                await stack.enter_async_context(self._one(self.folder, address=gateway, port=PORT))
            except (RegistryError, OSError) as e:
                # Somebody listens on every address of the machine.
                log.warning("pods cannot push to %s:%d: %s", self.alias, PORT, e)
                self.alias = ""

    def _one(
        self, folder: Path, *, address: str = "127.0.0.1", port: int = 0, remote: str = ""
    ) -> Distribution:
        return Distribution(
            folder,
            program=self._program,
            address=address,
            port=port,
            remote=remote,
            clock=self._clock,
        )

    async def mirror(self, host: str) -> str:
        """``localhost:PORT`` of the mirror of a registry, started if need be; "" without one."""
        remote = self.mirrors.get(host)
        if remote is None:
            return ""
        async with self._lock:
            one = self._started.get(host)
            if one is None:
                folder = self.folder / "mirrors" / host.replace(":", "-")
                one = self._one(folder, remote=remote)
                await self._stack.enter_async_context(one)
                self._started[host] = one
        return f"localhost:{one.port}"

    async def reference(self, image: str) -> str:
        """What the engine on this machine pulls for an image as pods name it.

        The mirror's name where its registry is mirrored, ours for ``registry.cove.localhost``,
        and else the image as it is.
        """
        named = parse(image)
        if self.alias and named.host == f"{self.alias}:{PORT}":
            return f"{self.address}/{named.path}{named.suffix}"
        mirror = await self.mirror(named.host)
        if mirror:
            return f"{mirror}/{named.path}{named.suffix}"
        return local_reference(image)

    async def list_images(self) -> list[Image]:
        """Every tag that was pushed, sorted."""
        return await images.list_images(self._session, self._main.url)

    async def delete_image(self, name: str) -> Image:
        """Delete ``repository:tag``; the space is free when the registry starts next.

        Every other tag of the same image goes with it.  Raises ImageNotFoundError.
        """
        deleted = await images.delete_image(self._session, self._main.url, name)
        (self.folder / _DELETED).touch()
        return deleted

    async def announce(self, client: Client) -> None:
        """Tell tools by the ConfigMap ``local-registry-hosting`` in ``kube-public``."""
        await announce(client, self.port)
