"""Tree: a cluster as directories and files, without any file system.

It answers what a path is, what is in it and what it holds, from what it follows of the
cluster (:mod:`cove.files.following`).  The mount, the commands and programs use it alike.
"""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Self

from cove.client import Client
from cove.client.errors import ClientError
from cove.client.readonly import read_only
from cove.files import events, logs
from cove.files.describe import describe
from cove.files.discovery import Type, Types, together
from cove.files.documents import inode, redacted, render
from cove.files.errors import FileError, file_error, is_a_directory, not_a_directory, not_found
from cove.files.folders import (
    MANIFESTS,
    file_attributes,
    files,
    folders,
    logs_folder,
    namespace_folder,
    object_folder,
    pod_logs,
    writes_logs,
)
from cove.files.following import OBJECTS, WATCHES, Entry, Followed, Following
from cove.files.history import History, Revision
from cove.files.paths import (
    BY_LABEL,
    CLUSTER,
    EVENTS,
    HISTORY,
    NAMESPACES,
    PREVIOUS,
    YAML,
    Level,
    Place,
    join,
    key_to_component,
    parse,
    value_to_component,
)
from cove.files.remembered import Moments, Rendered
from cove.files.spools import Spools
from cove.files.values import Attributes, Content, Listed, OpenFile
from cove.kube.gvk import GVR
from cove.kube.status import StatusError

__all__ = ["Tree"]

Doc = dict[str, Any]
NAMESPACE_TYPE = Type(GVR("", "v1", "namespaces"), "Namespace", False, "namespaces")
# Bytes of rendered files kept for who asks for a length first and for the content then.
RENDERED = 32 * 1024 * 1024
# Seconds to wait for the whole of a log when its length is asked for.
SETTLE = 5.0
# What is always there, the same for everybody.
_FIXED = (Level.ROOT, Level.VIEW, Level.NAMESPACES, Level.CLUSTER)
UID, VERSION = "user.kubernetes.uid", "user.kubernetes.resourceVersion"


@lru_cache(maxsize=4096)
def _parsed(path: str) -> Place:
    return parse(path)


class Tree:
    """One cluster's files.  Close it, or use it as an async context manager.

    ``client`` stays its owner's, and nothing but GET goes through it.  ``hide_empty_types``
    leaves out types without objects; ``secrets`` shows the values of Secrets;
    ``namespaces`` shows only those.  ``watches`` and ``objects`` bound what is kept in
    memory, ``log_limit`` the bytes of one log.

    Every method raises :class:`~cove.files.FileError`, which is an OSError.
    """

    def __init__(
        self,
        client: Client,
        *,
        hide_empty_types: bool = False,
        secrets: bool = False,
        namespaces: Sequence[str] = (),
        watches: int = WATCHES,
        objects: int = OBJECTS,
        log_limit: int = logs.LIMIT,
    ) -> None:
        self._client = read_only(client)
        self._hide_empty_types = hide_empty_types
        self._secrets = secrets
        self._limit_to = frozenset(namespaces)
        self.types = Types(self._client)
        self.following = Following(self._client, watches=watches, objects=objects)
        self._history = History(self._client)
        self._rendered = Rendered(RENDERED)
        self._events: Moments[str, list[events.Row]] = Moments()
        self._revisions: Moments[tuple[Type, str, str], list[Revision]] = Moments()
        self.spools = Spools(self._client, log_limit)
        self._began = time.time_ns()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every watch and every log."""
        await self.types.close()
        await self.following.close()
        await self.spools.close()

    # -- what there is

    async def lookup(self, path: str) -> Attributes:
        """What ``path`` is; raises ENOENT if there is no such thing."""
        known = self.peek(path)
        if known is not None:
            return known
        async with _told(path):
            return await self._attributes(_parsed(path))

    def peek(self, path: str) -> Attributes | None:
        """As :meth:`lookup`, from any thread, if nobody has to be asked for it; else None.

        Raises ENOENT for what is no path.
        """
        place = _parsed(path)
        level = place.level
        if level in _FIXED and place.view != HISTORY:
            return self._folder(place)
        if place.namespace and self._outside(place.namespace):
            return None
        if level is Level.NAMESPACE:
            entry = self.following.peek_entry(NAMESPACE_TYPE, "", place.namespace)
            return None if entry is None else namespace_folder(place, entry)
        type_ = self.types.peek(bool(place.namespace), place.type)
        if type_ is None or place.view:
            return None
        if level is Level.TYPE:
            there = not place.namespace or self.following.peek_entry(
                NAMESPACE_TYPE, "", place.namespace
            )
            return self._folder(place) if there else None
        if level is Level.OBJECT:
            entry = self.following.peek_entry(type_, place.namespace, place.name)
            return None if entry is None else object_folder(entry)
        if level is Level.LOGS and not place.variant and writes_logs(type_):
            entry = self.following.peek_entry(type_, place.namespace, place.name)
            return None if entry is None else logs_folder(place, entry)
        if level is Level.FILE and place.leaf in MANIFESTS:
            content = self._peek_manifest(type_, place)
            return (
                None
                if content is None
                else file_attributes(content[0], place.leaf, len(content[1]))
            )
        return None

    def peek_list(self, path: str) -> list[Listed] | None:
        """What is in an object's directory, from any thread, if nobody has to be asked; else None.

        Listings of what may come and go are always confirmed.
        """
        place = _parsed(path)
        if place.view or place.level not in (Level.OBJECT, Level.LOGS):
            return None
        type_ = self.types.peek(bool(place.namespace), place.type)
        if type_ is None or self._outside(place.namespace):
            return None
        found = self.following.peek_doc(type_, place.namespace, place.name)
        if found is None:
            return None
        if place.level is Level.OBJECT:
            return files(place, type_, found[0])
        return pod_logs(place, *found) if writes_logs(type_) else None

    def peek_content(self, path: str) -> bytes | None:
        """What a file holds, from any thread, if nobody has to be asked for it; else None."""
        place = _parsed(path)
        if place.level is not Level.FILE or place.leaf not in MANIFESTS:
            return None
        type_ = self.types.peek(bool(place.namespace), place.type)
        if type_ is None or self._outside(place.namespace):
            return None
        found = self._peek_manifest(type_, place)
        return None if found is None else found[1]

    async def readdir(self, path: str) -> list[Listed]:
        """What is in a directory, "." and ".." left out; raises ENOTDIR for a file."""
        known = self.peek_list(path)
        if known is not None:
            return known
        async with _told(path):
            return await self._list(_parsed(path))

    async def read(self, path: str, offset: int = 0, size: int | None = None) -> bytes:
        """``size`` bytes of a file from ``offset`` on; None for all there are."""
        file = await self.open(path)
        try:
            if size is not None:
                return await file.read(offset, size)
            pieces = []
            while piece := await file.read(offset, 1 << 20):
                pieces.append(piece)
                offset += len(piece)
            return b"".join(pieces)
        finally:
            await file.close()

    async def open(self, path: str) -> OpenFile:
        """A file to read from as it is now; close it.  Raises EISDIR for a directory."""
        known = self.peek_content(path)
        if known is not None:
            return Content(known)
        async with _told(path):
            place = _parsed(path)
            if place.level is Level.LOG:
                _, doc = await self._object(place)
                if place.leaf not in logs.containers(doc):
                    raise not_found(path)
                return self.spools.open(place)
            return Content(await self._content(place))

    async def readlink(self, path: str) -> str:
        """Where a link leads, relative to its directory; raises EINVAL for what is none."""
        async with _told(path):
            place = _parsed(path)
            if place.level is not Level.LINK:
                raise FileError(errno.EINVAL, path)
            await self._linked(place)
            return place.target

    async def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes: an object's uid and resourceVersion, on all files of it."""
        async with _told(path):
            place = _parsed(path)
            if place.level is Level.NAMESPACE:
                entry = await self._namespace(place.namespace, path)
            elif place.level is Level.REVISION:
                metadata = (await self._revision(place)).doc["metadata"]
                version = metadata.get("resourceVersion", "")
                return {UID: metadata.get("uid", "").encode(), VERSION: version.encode()}
            elif place.name and not place.view:
                entry, _ = await self._object(place)
            else:
                await self._attributes(place)
                return {}
            if entry is None:
                return {}
            return {UID: entry.uid.encode(), VERSION: entry.version.encode()}

    # -- attributes

    async def _attributes(self, place: Place) -> Attributes:
        level = place.level
        if place.view == HISTORY:
            return await self._past(place)
        if level in _FIXED:
            return self._folder(place)
        if level is Level.NAMESPACE:
            entry = await self._namespace(place.namespace, place.path)
            return self._folder(place) if entry is None else namespace_folder(place, entry)
        if level is Level.TYPE:
            await self._scope(place)
            await self._type(place)
            return self._folder(place)
        if level in (Level.LABEL_KEY, Level.LABEL_VALUE):
            await self._labelled(place, fresh=False)
            return self._folder(place)
        if level is Level.LINK:
            entry = await self._linked(place)
            return Attributes("link", inode(place.path), len(place.target), entry.mtime)
        entry, doc = await self._object(place)
        if level is Level.OBJECT:
            return object_folder(entry)
        if level is Level.FILE:
            content = await self._file(place, entry, doc)
            return file_attributes(entry, place.leaf, len(content), settled=place.leaf in MANIFESTS)
        if level is Level.LOGS:
            if place.variant == PREVIOUS and not logs.has_previous(doc):
                raise not_found(place.path)
            return logs_folder(place, entry)
        assert level is Level.LOG, level
        return await self._log(place, entry, doc)

    def _folder(self, place: Place) -> Attributes:
        return Attributes("directory", inode(place.path), mtime=self._began)

    # -- listings

    async def _list(self, place: Place) -> list[Listed]:
        level = place.level
        if place.view == HISTORY and not await self._history.kept():
            raise not_found(place.path)
        if level is Level.ROOT:
            views = (BY_LABEL, HISTORY) if await self._remembers() else (BY_LABEL,)
            return folders(place, (NAMESPACES, CLUSTER, *views))
        if level is Level.VIEW:
            return folders(place, (NAMESPACES, CLUSTER))
        if level is Level.NAMESPACES:
            return await self._namespaces(place)
        if level in (Level.NAMESPACE, Level.CLUSTER):
            await self._scope(place)
            return folders(place, [t.shown for t in await self._types(place.namespace)])
        if place.view == HISTORY:
            return await self._versions_of(place)
        if level in (Level.LABEL_KEY, Level.LABEL_VALUE) or (place.view and level is Level.TYPE):
            return await self._labels(place)
        if level is Level.TYPE:
            return await self._objects(place)
        if level in (Level.OBJECT, Level.LOGS):
            entry, doc = await self._object(place)
            if level is Level.OBJECT:
                return files(place, await self._type(place), entry)
            return pod_logs(place, entry, doc)
        await self._attributes(place)
        raise not_a_directory(place.path)

    async def _namespaces(self, place: Place) -> list[Listed]:
        if self._limit_to:
            there = await together(*(self._exists(place, n) for n in sorted(self._limit_to)))
            return [listed for listed in there if listed is not None]
        found = await self.following.listing(NAMESPACE_TYPE, "")
        return [
            Listed(e.name, "directory", folder.inode, folder)
            for e in [*found.entries.values()]
            for folder in (namespace_folder(place, e),)
        ]

    async def _exists(self, place: Place, name: str) -> Listed | None:
        path = join(place.path, name)
        try:
            entry = await self._namespace(name, path)
        except StatusError as e:
            if e.code == 404:
                return None
            raise
        number = inode(path) if entry is None else namespace_folder(place, entry).inode
        return Listed(name, "directory", number)

    async def _types(self, namespace: str) -> list[Type]:
        types = await self.types.listed(bool(namespace))
        return await self.types.used(types, namespace) if self._hide_empty_types else types

    async def _objects(self, place: Place) -> list[Listed]:
        await self._scope(place)
        found = await self._followed(await self._type(place), place)
        return [
            Listed(e.name, "directory", e.inode, object_folder(e))
            for e in [*found.entries.values()]
        ]

    async def _followed(self, type_: Type, place: Place, *, fresh: bool = True) -> Followed:
        try:
            if fresh:
                return await self.following.listing(type_, place.namespace)
            return await self.following.collection(type_, place.namespace)
        except StatusError as e:
            if e.code == 404:
                # Its definition is gone.
                self.types.forget()
            raise

    # -- labels

    async def _labelled(self, place: Place, *, fresh: bool = True) -> dict[str, Any] | set[str]:
        """What is below a place: keys, values of a key, names of objects; ENOENT for nothing."""
        await self._scope(place)
        found = await self._followed(await self._type(place), place, fresh=fresh)
        keys = found.labels()
        if place.level is Level.TYPE:
            return keys
        values = keys.get(place.key, {})
        below = values if place.level is Level.LABEL_KEY else values.get(place.leaf, set())
        if not below and not fresh:
            return await self._labelled(place)
        if not below:
            raise not_found(place.path)
        return below

    async def _labels(self, place: Place) -> list[Listed]:
        below = sorted(await self._labelled(place))
        if place.level is Level.TYPE:
            return folders(place, map(key_to_component, below))
        if place.level is Level.LABEL_KEY:
            return folders(place, map(value_to_component, below))
        return [Listed(name, "link", inode(join(place.path, name))) for name in below]

    async def _linked(self, place: Place) -> Entry:
        entry, doc = await self._object(place)
        if (doc["metadata"].get("labels") or {}).get(place.key) != place.leaf:
            raise not_found(place.path)
        return entry

    # -- history

    async def _remembers(self) -> bool:
        """Whether there is a history to show; the root is listed whoever does not answer."""
        try:
            return await self._history.kept()
        except (StatusError, ClientError):
            return False

    async def _past(self, place: Place) -> Attributes:
        if not await self._history.kept():
            raise not_found(place.path)
        if place.level in _FIXED:
            return self._folder(place)
        if place.level is Level.REVISION:
            revision = await self._revision(place)
            size = len(self._shown(await self._type(place), revision.doc, YAML))
            return Attributes("file", inode(place.path), size, revision.mtime)
        await self._scope(place)
        if place.level is Level.NAMESPACE:
            return self._folder(place)
        await self._type(place)
        if place.level is Level.OBJECT:
            versions = await self._versions(place)
            if not versions:
                raise not_found(place.path)
            return Attributes("directory", inode(place.path), mtime=versions[-1].mtime)
        return self._folder(place)

    async def _versions_of(self, place: Place) -> list[Listed]:
        """Of a type, the objects there are and were; of an object, its versions."""
        if place.level is Level.TYPE:
            await self._scope(place)
            type_ = await self._type(place)
            if not type_.watched:
                # Not stored but made up when asked for, such as componentstatuses.
                return []
            found = await self._followed(type_, place)
            names = {*found.entries, *await self._history.names(type_, place.namespace)}
            return folders(place, sorted(names))
        if place.level is Level.REVISION:
            await self._revision(place)
            raise not_a_directory(place.path)
        versions = await self._versions(place)
        if not versions:
            raise not_found(place.path)
        return [Listed(r.file, "file", inode(join(place.path, r.file))) for r in versions]

    async def _versions(self, place: Place) -> list[Revision]:
        if self._outside(place.namespace):
            raise not_found(place.path)
        type_ = await self._type(place)
        key = (type_, place.namespace, place.name)
        known = self._revisions.get(key)
        if known is None:
            try:
                known = await self._history.revisions(*key)
            except StatusError as e:
                if e.code != 404:
                    raise
                # Neither is there such an object nor was there one; or it is not stored.
                known = []
            self._revisions.put(key, known)
        return known

    async def _revision(self, place: Place) -> Revision:
        if await self._history.kept():
            for revision in await self._versions(place):
                if revision.file == place.leaf:
                    return revision
        raise not_found(place.path)

    # -- scopes, types, objects

    def _outside(self, namespace: str) -> bool:
        """Whether a namespace was not asked for."""
        return bool(self._limit_to and namespace and namespace not in self._limit_to)

    async def _scope(self, place: Place) -> None:
        """Raise ENOENT if a place's namespace is none."""
        if place.namespace:
            await self._namespace(place.namespace, place.path)

    async def _namespace(self, name: str, path: str) -> Entry | None:
        """The namespace; None if we may not know, but may know what is in it."""
        if self._outside(name):
            raise not_found(path)
        try:
            followed = await self.following.collection(NAMESPACE_TYPE, "")
            entry = followed.entries.get(name)
            if entry is not None:
                return entry
        except StatusError as e:
            if e.code != 403:
                raise
        try:
            return (await self.following.get(NAMESPACE_TYPE, "", name))[0]
        except StatusError as e:
            if e.code == 403:
                return None
            raise

    async def _type(self, place: Place) -> Type:
        type_ = await self.types.find(bool(place.namespace), place.type)
        if type_ is None:
            raise not_found(place.path)
        return type_

    async def _object(self, place: Place) -> tuple[Entry, Doc]:
        if self._outside(place.namespace):
            raise not_found(place.path)
        type_ = await self._type(place)
        if place.level in (Level.LOG, Level.LOGS) and not writes_logs(type_):
            raise not_found(place.path)
        try:
            return await self.following.get(type_, place.namespace, place.name)
        except StatusError as e:
            if e.code == 404 and (e.details or {}).get("name") != place.name:
                # Not the object is missing but where it would be.
                self.types.forget()
            raise

    # -- contents

    async def _content(self, place: Place) -> bytes:
        if place.level is Level.REVISION:
            revision = await self._revision(place)
            return self._shown(await self._type(place), revision.doc, YAML)
        if place.level is not Level.FILE:
            await self._attributes(place)
            raise is_a_directory(place.path)
        entry, doc = await self._object(place)
        return await self._file(place, entry, doc)

    async def _file(self, place: Place, entry: Entry, doc: Doc) -> bytes:
        type_ = await self._type(place)
        if place.leaf in MANIFESTS:
            return self._manifest(type_, entry, place.leaf, doc)
        told = await self._events_of(type_, place, entry)
        if place.leaf == EVENTS:
            return events.table(told).encode()
        return describe(doc, told).encode()

    def _peek_manifest(self, type_: Type, place: Place) -> tuple[Entry, bytes] | None:
        entry = self.following.peek_entry(type_, place.namespace, place.name)
        if entry is None:
            return None
        known = self._rendered.get((entry.uid, entry.version, place.leaf, type_.gvr.api_version))
        if known is not None:
            return entry, known
        found = self.following.peek_doc(type_, place.namespace, place.name)
        if found is None:
            return None
        return found[0], self._manifest(type_, found[0], place.leaf, found[1])

    def _manifest(self, type_: Type, entry: Entry, file: str, doc: Doc) -> bytes:
        key = (entry.uid, entry.version, file, type_.gvr.api_version)
        data = self._rendered.get(key)
        if data is None:
            data = self._shown(type_, doc, file)
            self._rendered.put(key, data)
        return data

    def _shown(self, type_: Type, doc: Doc, file: str) -> bytes:
        """A document as a file, without values that nobody asked for."""
        if type_.gvr.resource == "secrets" and not type_.gvr.group and not self._secrets:
            doc = redacted(doc)
        return render(doc, file)

    async def _events_of(self, type_: Type, place: Place, entry: Entry) -> list[events.Row]:
        known = self._events.get(entry.uid)
        if known is not None:
            return known
        found = await events.fetch(self._client, type_.kind, place.name, place.namespace, entry.uid)
        rows = events.rows(found)
        self._events.put(entry.uid, rows)
        return rows

    # -- logs

    async def _log(self, place: Place, entry: Entry, doc: Doc) -> Attributes:
        if place.leaf not in logs.containers(doc):
            raise not_found(place.path)
        size = await self.spools.size(place, SETTLE)
        number = inode(entry.uid, place.leaf, place.variant)
        return Attributes("file", number, size, entry.mtime, settled=False)


@asynccontextmanager
async def _told(path: str) -> AsyncIterator[None]:
    """Tell what a client raises as errors of files."""
    try:
        yield
    except (StatusError, ClientError) as e:
        raise file_error(e, path) from e
