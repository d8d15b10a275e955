"""Looking: whether a k3s server is ready, from the kubeconfig it writes and its nodes alone."""

from __future__ import annotations

import asyncio

from cove.client import Client, kubeconfig
from cove.engines.cluster import Health
from cove.engines.health import ASKING, judged, nodes_of, stale, why_not
from cove.engines.variants import IncompleteError, Variants

__all__ = ["Looking"]


class Looking:
    """One server's kubeconfig as it is written, and a client of it; close it."""

    def __init__(self, variants: Variants) -> None:
        self.variants = variants
        # One look at a time.
        self.lock = asyncio.Lock()
        self._client: Client | None = None
        # What the raw file was when it was last read; whether what came of it is out.
        self._signature: tuple[object, ...] = ()
        self._published = False

    @property
    def client(self) -> Client:
        """An administrator's; another one when k3s has written new credentials."""
        assert self._client is not None, "the cluster was not entered"
        return self._client

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.close()

    async def look(self, *, local: str, container: str, nodes: int) -> Health:
        """One look: the file, the variants for both URLs, at least so many nodes."""
        async with self.lock:
            try:
                await self._read(local, container)
            except FileNotFoundError:
                return Health(False, "k3s has not written its kubeconfig yet")
            except IncompleteError as e:
                return Health(False, f"k3s has not finished its kubeconfig yet: {e}")
            except OSError as e:
                return Health(False, f"{self.variants.raw} cannot be read: {e.strerror or e}")
            try:
                found = await nodes_of(self.client)
            except ASKING as e:
                if stale(e):
                    # Of an earlier server: this one will write its own.
                    await asyncio.to_thread(self.variants.forget)
                    self._published = False
                return Health(False, why_not(e))
            await self._publish(local, container)
            return judged(found, nodes)

    async def _read(self, local: str, container: str) -> None:
        """Have variants and a client of what k3s wrote, if that is new."""
        found = self.variants.raw.stat()
        signature = (found.st_ino, found.st_mtime_ns, found.st_size, local)
        if signature == self._signature:
            return
        self._published = False
        await self._publish(local, container)
        connection = await asyncio.to_thread(kubeconfig.load, self.variants.local)
        before, self._client = self._client, Client.connect(connection)
        self._signature = signature
        if before is not None:
            await before.close()

    async def _publish(self, local: str, container: str) -> None:
        """Write the variants, unless they are out."""
        if self._published:
            return
        await asyncio.to_thread(self.variants.derive, local=local, container=container)
        self._published = True
