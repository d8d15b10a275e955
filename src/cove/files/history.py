"""history/: the versions of objects that an embedded cluster remembers.

They are told by ``GET /cove/history/PATH``; other servers have no such path, and then there is
no ``/history``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.client.history import history
from cove.files.documents import nanoseconds, whole
from cove.kube.status import StatusError
from cove.kube.times import format_micro_time

if TYPE_CHECKING:
    from cove.client import Client
    from cove.files.discovery import Type

__all__ = ["History", "Revision"]

Doc = dict[str, Any]


class Revision(NamedTuple):
    """One version: the name of its file, when it was written, the object."""

    file: str
    mtime: int
    doc: Doc


class History:
    """Asks a server for versions, after asking once whether it has any."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: bool | None = None
        self._lock = asyncio.Lock()

    async def kept(self) -> bool:
        """Whether the server remembers versions at all.

        Raises ClientError when it does not answer: that is not remembered.
        """
        async with self._lock:
            if self._kept is None:
                self._kept = await self._probe()
            return self._kept

    async def _probe(self) -> bool:
        try:
            await self._client.request("GET", "/cove/history/")
        except StatusError as e:
            if e.code == 429 or e.code >= 500:
                raise
            # Who has versions says that this path names no objects; others that it is none.
            return e.code == 400
        return False

    async def names(self, type_: Type, namespace: str) -> set[str]:
        """The objects of a collection that were written since the server remembers.

        Those that are gone are among them, those that have not changed for long are not.
        """
        versions = await history(self._client, type_.gvr, "", namespace or None)
        return {version.object["metadata"]["name"] for version in versions}

    async def revisions(self, type_: Type, namespace: str, name: str) -> list[Revision]:
        """The versions, oldest first; the one of a deletion is the last there was."""
        out = []
        for version in await history(self._client, type_.gvr, name, namespace or None):
            doc = whole(version.object, type_)
            ending = ".deleted.yaml" if version.type == "DELETED" else ".yaml"
            if version.time is None:
                mtime = nanoseconds(doc["metadata"].get("creationTimestamp"))
            else:
                mtime = nanoseconds(format_micro_time(version.time))
            out.append(Revision(f"{version.revision}{ending}", mtime, doc))
        return out
