"""From a source into a cluster of this process, noting what is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from cove.engines.clone._options import CloneError, CloneOptions, Progress
from cove.engines.clone._plan import (
    DEFINITIONS,
    NAMESPACES,
    Collection,
    name_of,
    plan,
    stored_versions,
)
from cove.engines.clone._record import Part, Record
from cove.engines.clone._redact import redact
from cove.engines.clone._source import Source
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.server.bootstrap import take_over

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["Copy"]

# Collections that are read at the same time.
SIDE_BY_SIDE = 4
# Reasons not to read a collection that are no fault of the source.
_LEFT_OUT = (403, 404, 405)


class Copy:
    """One run of a clone.

    ``save`` writes the record down; ``told`` is called after every page.  Afterwards
    ``skipped`` says which collections were left out, and why.
    """

    def __init__(
        self,
        source: Source,
        api: Api,
        record: Record,
        options: CloneOptions,
        *,
        save: Callable[[], None],
        told: Callable[[Progress], None],
    ) -> None:
        self._source = source
        self._api = api
        self._record = record
        self._options = options
        self._save = save
        self._told = told
        self._places = asyncio.Semaphore(SIDE_BY_SIDE)
        self._namespaces: set[str] = set()
        self._total = 0
        self.skipped: dict[str, str] = {}

    async def run(self) -> None:
        """Copy what has not been copied: definitions, namespaces, owners, what they own.

        Raises StatusError, UnreachableError, CloneError; what was copied stays.
        """
        resources = await self._source.resources()
        first = plan(
            [r for r in resources if r.gvr in (DEFINITIONS, NAMESPACES)],
            self._place,
            stored={},
            namespaces=self._options.namespaces,
            exclude=[],
        )
        # Names are checked and kinds chosen once the clone serves the source's own.
        if DEFINITIONS in [c.gvr for c in first.collections] and not self._excludes(DEFINITIONS):
            await self._collection(first.collections[0])
        chosen = plan(
            resources,
            self._place,
            stored=stored_versions(self._definitions()),
            namespaces=self._options.namespaces,
            include=self._options.include,
            exclude=self._options.exclude,
            webhooks=self._options.webhooks,
        )
        self.skipped.update(chosen.skipped)
        self._total = len(chosen.collections)
        for rank in sorted({c.rank for c in chosen.collections}):
            await self._rank([c for c in chosen.collections if c.rank == rank])

    def _excludes(self, gvr: GVR) -> bool:
        names = {gvr.resource, name_of(gvr), "crd", "crds", "customresourcedefinition"}
        return any(name.lower() in names for name in self._options.exclude)

    def _place(self, gvr: GVR) -> str | None:
        """Where the clone stores a resource."""
        endpoint = self._api.registry.get(self._api, *gvr)
        return None if endpoint is None else endpoint.storage

    def _definitions(self) -> Iterator[dict[str, Any]]:
        for stored in self._api.store.state.list(name_of(DEFINITIONS)):
            yield orjson.loads(stored.data)

    async def _rank(self, collections: list[Collection]) -> None:
        """Those that may come in any order."""
        try:
            async with asyncio.TaskGroup() as group:
                for collection in collections:
                    group.create_task(self._collection(collection), name=f"clone {collection.name}")
        except ExceptionGroup as failed:
            raise _first(failed) from failed

    async def _collection(self, collection: Collection) -> None:
        """All of it, or what is in the namespaces that were asked for."""
        limits = self._options.namespaces
        async with self._places:
            if collection.gvr == NAMESPACES and limits:
                for name in limits:
                    await self._namespace(name, asked=True)
                self._tell(collection, done=True)
                return
            for namespace in limits if limits and collection.namespaced else (None,):
                try:
                    await self._part(collection, namespace)
                except StatusError as e:
                    if e.code not in _LEFT_OUT:
                        raise
                    where = collection.name + (f" in {namespace}" if namespace else "")
                    self.skipped[where] = e.message

    async def _part(self, collection: Collection, namespace: str | None) -> None:
        key = collection.name + (f" in {namespace}" if namespace else "")
        part = self._record.parts.setdefault(key, Part())
        if part.done:
            return
        pages = self._source.pages(
            collection.gvr, namespace, size=self._options.page, token=part.token
        )
        async for page in pages:
            for item in page.items:
                await self._take(collection, item, part)
            # The note must not tell of objects that a crash would take away.
            await self._api.store.durable(self._api.store.revision)
            part.token = page.token
            part.done = not page.token
            self._save()
            self._tell(collection, done=part.done)

    def _tell(self, collection: Collection, *, done: bool) -> None:
        parts = self._record.parts
        kinds = {key.partition(" ")[0] for key, part in parts.items() if part.done}
        objects = sum(part.objects for part in parts.values())
        self._told(Progress(objects, len(kinds), self._total, collection.name, done))

    async def _take(self, collection: Collection, item: dict[str, Any], part: Part) -> None:
        """Store one object; one that cannot be stored is told, and the rest goes on."""
        metadata = item.get("metadata") or {}
        namespace = str(metadata.get("namespace") or "")
        if collection.namespaced:
            await self._namespace(namespace)
        hidden = collection.name == "secrets" and not self._options.secrets
        if hidden and (item.get("data") or item.get("stringData")):
            item = redact(item)
        else:
            hidden = False
        if self._store(collection.gvr, item):
            part.objects += 1
            part.redacted += hidden

    def _store(self, gvr: GVR, item: dict[str, Any]) -> bool:
        """Whether it is there now and was not before."""
        metadata = item["metadata"]
        namespace = str(metadata.get("namespace") or "")
        known = self._api.store.state.get(self._place(gvr) or "", namespace, metadata["name"])
        try:
            take_over(self._api, *gvr, item)
        except StatusError as e:
            name = "/".join(filter(None, (namespace, metadata["name"])))
            self._record.failed[f"{name_of(gvr)} {name}"] = e.message
            return False
        return known is None or known.uid != metadata.get("uid")

    async def _namespace(self, name: str, *, asked: bool = False) -> None:
        """See that a namespace is there: it may be younger than the list, or not to be read."""
        if name in self._namespaces:
            return
        self._namespaces.add(name)
        known = not asked and self._api.store.state.get("namespaces", "", name) is not None
        part = self._record.parts.setdefault("namespaces", Part())
        if known or (asked and part.done):
            return
        try:
            doc = await self._source.one(NAMESPACES, name)
        except StatusError as e:
            if asked and e.code == 404:
                raise CloneError(f'the source has no namespace "{name}"') from e
            if e.code not in _LEFT_OUT:
                raise
            self.skipped[f"namespaces {name}"] = f"made anew: {e.message}"
            doc = _plain(name)
        part.objects += self._store(NAMESPACES, doc)


def _plain(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one that ended the others."""
    found: BaseException = failed
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
