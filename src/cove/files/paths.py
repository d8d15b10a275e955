"""Paths: what a path means, before anybody is asked.

::

    /namespaces/NS/TYPE/NAME/{manifest.yaml,manifest.json,status.yaml,events.txt,describe.txt}
    /namespaces/NS/TYPE/NAME/history/REVISION.yaml
    /namespaces/NS/pods/NAME/logs/CONTAINER.log
    /namespaces/NS/pods/NAME/logs/{previous,timestamps}/CONTAINER.log
    /namespaces/NS/by-label/TYPE/KEY/VALUE/NAME -> ../../../../TYPE/NAME
    /cluster/TYPE/NAME/{manifest.yaml,manifest.json,status.yaml,describe.txt,history}
    /cluster/by-label/TYPE/KEY/VALUE/NAME -> …

:func:`parse` is pure: whether there is such a type or object, others find out.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from cove.files.errors import not_found

__all__ = [
    "BY_LABEL",
    "DESCRIBE",
    "EVENTS",
    "Level",
    "Place",
    "join",
    "key_of_component",
    "key_to_component",
    "parse",
    "revision_of",
    "value_of_component",
    "value_to_component",
]

NAMESPACES, CLUSTER, BY_LABEL = "namespaces", "cluster", "by-label"
YAML, JSON, STATUS = "manifest.yaml", "manifest.json", "status.yaml"
EVENTS, DESCRIBE = "events.txt", "describe.txt"
LOGS, PREVIOUS, TIMESTAMPS, HISTORY = "logs", "previous", "timestamps", "history"
FILES = (YAML, JSON, STATUS, EVENTS, DESCRIBE)
# Control characters, and what would mean something else in a URL.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f/%?#]|[\ud800-\udfff]")
_LOG = re.compile(r"([^/]+)\.log")
_REVISION = re.compile(r"([0-9]{1,19})(\.deleted)?\.yaml")


class Level(Enum):
    """How deep a path is, and into what."""

    ROOT = "/"
    NAMESPACES = "/namespaces"
    NAMESPACE = "/namespaces/NS"
    CLUSTER = "/cluster"
    TYPE = "TYPE"
    OBJECT = "TYPE/NAME"
    FILE = "TYPE/NAME/FILE"
    LOGS = "TYPE/NAME/logs"
    LOG = "TYPE/NAME/logs/CONTAINER.log"
    HISTORY = "TYPE/NAME/history"
    REVISION = "TYPE/NAME/history/REVISION.yaml"
    LABELS = "by-label"
    LABEL_TYPE = "by-label/TYPE"
    LABEL_KEY = "by-label/TYPE/KEY"
    LABEL_VALUE = "by-label/TYPE/KEY/VALUE"
    LINK = "by-label/TYPE/KEY/VALUE/NAME"


class Place(NamedTuple):
    """What a path names.

    ``namespace`` "" is the cluster's own scope; ``variant`` is "", "previous" or
    "timestamps" of logs; ``leaf`` is a file, a container, a revision's file or a label's
    value, ``key`` a label's key.
    """

    path: str
    level: Level
    namespace: str = ""
    type: str = ""
    name: str = ""
    leaf: str = ""
    variant: str = ""
    key: str = ""

    @property
    def scope(self) -> str:
        """The directory of the types: ``/cluster`` or ``/namespaces/NS``."""
        return f"/{NAMESPACES}/{self.namespace}" if self.namespace else f"/{CLUSTER}"


def join(folder: str, name: str) -> str:
    """A path below a directory."""
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"


def parse(path: str) -> Place:
    """What an absolute path names; raises :class:`~cove.files.FileError` (ENOENT) for what names nothing.

    ``//`` and a "/" at the end are as in a shell; "." and ".." are refused, as is all that a
    URL would take for something else.
    """
    parts = [p for p in path.split("/") if p]
    whole = "/" + "/".join(parts)
    for part in parts:
        if part in (".", "..") or _REFUSED.search(part):
            raise not_found(path, "no name in Kubernetes is so")
    if not parts:
        return Place(whole, Level.ROOT)
    if parts[0] == CLUSTER:
        if len(parts) == 1:
            return Place(whole, Level.CLUSTER)
        return _below(path, whole, "", parts[1:])
    if parts[0] == NAMESPACES:
        if len(parts) == 1:
            return Place(whole, Level.NAMESPACES)
        if len(parts) == 2:
            return Place(whole, Level.NAMESPACE, parts[1])
        return _below(path, whole, parts[1], parts[2:])
    raise not_found(path)


def _below(asked: str, path: str, namespace: str, parts: list[str]) -> Place:
    if parts[0] == BY_LABEL:
        return _labels(asked, path, namespace, parts[1:])
    type_, *rest = parts
    if not rest:
        return Place(path, Level.TYPE, namespace, type_)
    name, *rest = rest
    if not rest:
        return Place(path, Level.OBJECT, namespace, type_, name)
    first = rest[0]
    if first in FILES and len(rest) == 1 and (namespace or first != EVENTS):
        return Place(path, Level.FILE, namespace, type_, name, first)
    if first == HISTORY and len(rest) == 1:
        return Place(path, Level.HISTORY, namespace, type_, name)
    if first == HISTORY and len(rest) == 2 and _REVISION.fullmatch(rest[1]):
        return Place(path, Level.REVISION, namespace, type_, name, rest[1])
    if first == LOGS and namespace and type_.partition(".")[0] == "pods":
        return _log(asked, path, namespace, type_, name, rest[1:])
    raise not_found(asked)


def _log(asked: str, path: str, namespace: str, type_: str, name: str, rest: list[str]) -> Place:
    variant = ""
    if rest and rest[0] in (PREVIOUS, TIMESTAMPS):
        variant, rest = rest[0], rest[1:]
    if not rest:
        return Place(path, Level.LOGS, namespace, type_, name, variant=variant)
    match = _LOG.fullmatch(rest[0])
    if len(rest) > 1 or match is None:
        raise not_found(asked)
    return Place(path, Level.LOG, namespace, type_, name, match.group(1), variant)


def _labels(asked: str, path: str, namespace: str, parts: list[str]) -> Place:
    if not parts:
        return Place(path, Level.LABELS, namespace)
    type_ = parts[0]
    if len(parts) == 1:
        return Place(path, Level.LABEL_TYPE, namespace, type_)
    key = key_of_component(parts[1])
    if len(parts) == 2:
        return Place(path, Level.LABEL_KEY, namespace, type_, key=key)
    value = value_of_component(parts[2])
    if len(parts) == 3:
        return Place(path, Level.LABEL_VALUE, namespace, type_, leaf=value, key=key)
    if len(parts) == 4:
        return Place(path, Level.LINK, namespace, type_, parts[3], value, key=key)
    raise not_found(asked)


def key_to_component(key: str) -> str:
    """A label's key as a name: ``app.kubernetes.io/name`` is ``app.kubernetes.io:name``."""
    return key.replace("/", ":")


def key_of_component(name: str) -> str:
    """The key that :func:`key_to_component` made a name of."""
    return name.replace(":", "/")


def value_to_component(value: str) -> str:
    """A label's value as a name; the empty one is "_", which is no value of a label."""
    return value or "_"


def value_of_component(name: str) -> str:
    """The value that :func:`value_to_component` made a name of."""
    return "" if name == "_" else name


def revision_of(leaf: str) -> int:
    """The revision that a file of ``history/`` is of."""
    match = _REVISION.fullmatch(leaf)
    assert match is not None, leaf
    return int(match.group(1))
