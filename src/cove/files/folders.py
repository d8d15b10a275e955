"""Folders: the entries and attributes of an object's directory, of what is known already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cove.files import logs
from cove.files.documents import inode
from cove.files.errors import not_found
from cove.files.paths import DESCRIBE, EVENTS, JSON, LOGS, PREVIOUS, STATUS, YAML, Place, join
from cove.files.values import Attributes, Listed

if TYPE_CHECKING:
    from cove.files.discovery import Type
    from cove.files.following import Entry

__all__ = [
    "MANIFESTS",
    "file_attributes",
    "files",
    "folders",
    "logs_folder",
    "namespace_folder",
    "object_folder",
    "pod_logs",
    "writes_logs",
]

Doc = dict[str, Any]
MANIFESTS = (YAML, JSON, STATUS)


def folders(place: Place, names: Iterable[str]) -> list[Listed]:
    """Directories that are not of an object."""
    return [Listed(name, "directory", inode(join(place.path, name))) for name in names]


def files(place: Place, type_: Type, entry: Entry) -> list[Listed]:
    """What is in an object's directory."""
    names = [*MANIFESTS, DESCRIBE, *([EVENTS] if place.namespace else [])]
    listed = [Listed(name, "file", inode(entry.uid, name)) for name in names]
    if writes_logs(type_):
        listed.append(Listed(LOGS, "directory", inode(entry.uid, LOGS, "")))
    return listed


def pod_logs(place: Place, entry: Entry, doc: Doc) -> list[Listed]:
    """The logs of a pod; with timestamps they are not listed: everything is to be there once."""
    ran = logs.has_previous(doc)
    names = ran if place.variant == PREVIOUS else logs.containers(doc)
    if place.variant == PREVIOUS and not ran:
        raise not_found(place.path)
    listed = [
        Listed(f"{name}.log", "file", inode(entry.uid, name, place.variant)) for name in names
    ]
    if not place.variant and ran:
        listed.append(Listed(PREVIOUS, "directory", inode(entry.uid, LOGS, PREVIOUS)))
    return listed


def namespace_folder(place: Place, entry: Entry) -> Attributes:
    """The directory of a namespace's types."""
    return Attributes("directory", inode(entry.uid, "scope", place.view), 0, entry.mtime)


def logs_folder(place: Place, entry: Entry) -> Attributes:
    """The directory of a pod's logs."""
    return Attributes("directory", inode(entry.uid, LOGS, place.variant), 0, entry.mtime)


def object_folder(entry: Entry) -> Attributes:
    """The directory of an object."""
    return Attributes("directory", entry.inode, 0, entry.mtime)


def file_attributes(entry: Entry, leaf: str, size: int, *, settled: bool = True) -> Attributes:
    """A file of an object."""
    return Attributes("file", inode(entry.uid, leaf), size, entry.mtime, settled)


def writes_logs(type_: Type) -> bool:
    """Whether the objects have logs: pods have."""
    return type_.gvr.resource == "pods" and not type_.gvr.group
