"""Paths: what a path means, before anybody is asked.

::

    /namespaces/NS/TYPE/NAME/{manifest.yaml,manifest.json,status.yaml,events.txt,describe.txt}
    /namespaces/NS/pods/NAME/logs/CONTAINER.log
    /namespaces/NS/pods/NAME/logs/{previous,timestamps}/CONTAINER.log
    /cluster/TYPE/NAME/{manifest.yaml,manifest.json,status.yaml,describe.txt}

and two views of the same, so that everything is once where ``grep -r`` looks::

    /by-label/{namespaces/NS,cluster}/TYPE/KEY/VALUE/NAME -> …/TYPE/NAME
    /history/{namespaces/NS,cluster}/TYPE/NAME/REVISION.yaml

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
    "value_of_component",
    "value_to_component",
]

NAMESPACES, CLUSTER, BY_LABEL = "namespaces", "cluster", "by-label"
YAML, JSON, STATUS = "manifest.yaml", "manifest.json", "status.yaml"
EVENTS, DESCRIBE = "events.txt", "describe.txt"
LOGS, PREVIOUS, TIMESTAMPS, HISTORY = "logs", "previous", "timestamps", "history"
VIEWS = (BY_LABEL, HISTORY)
FILES = (YAML, JSON, STATUS, EVENTS, DESCRIBE)
# Control characters, and what would mean something else in a URL.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f/%?#]|[\ud800-\udfff]")
_LOG = re.compile(r"([^/]+)\.log")
_REVISION = re.compile(r"([0-9]{1,19})(\.deleted)?\.yaml")


class Level(Enum):
    """How deep a path is, and into what."""

    ROOT = "/"
    VIEW = "/by-label, /history"
    NAMESPACES = "/namespaces"
    # The directories of types.
    NAMESPACE = "/namespaces/NS"
    CLUSTER = "/cluster"
    TYPE = "TYPE"
    OBJECT = "TYPE/NAME"
    FILE = "TYPE/NAME/FILE"
    LOGS = "TYPE/NAME/logs"
    LOG = "TYPE/NAME/logs/CONTAINER.log"
    LABEL_KEY = "TYPE/KEY"
    LABEL_VALUE = "TYPE/KEY/VALUE"
    LINK = "TYPE/KEY/VALUE/NAME"
    REVISION = "TYPE/NAME/REVISION.yaml"


class Place(NamedTuple):
    """What a path names.

    ``view`` is "", "by-label" or "history"; ``namespace`` "" is the cluster's own scope;
    ``variant`` is "", "previous" or "timestamps" of logs; ``leaf`` is a file, a container, a
    revision's file or a label's value, ``key`` a label's key.
    """

    path: str
    level: Level
    view: str = ""
    namespace: str = ""
    type: str = ""
    name: str = ""
    leaf: str = ""
    variant: str = ""
    key: str = ""

    @property
    def target(self) -> str:
        """Of a link: where it leads, from its own directory."""
        up = "/".join([".."] * (self.path.count("/") - 1))
        scope = f"{NAMESPACES}/{self.namespace}" if self.namespace else CLUSTER
        return f"{up}/{scope}/{self.type}/{self.name}"


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
    view = ""
    if parts[0] in VIEWS:
        view, *parts = parts
        if not parts:
            return Place(whole, Level.VIEW, view)
    place = Place(whole, Level.NAMESPACES, view)
    if parts[0] == CLUSTER:
        place, rest = place._replace(level=Level.CLUSTER), parts[1:]
    elif parts[0] == NAMESPACES:
        rest = parts[2:]
        if len(parts) > 1:
            place = place._replace(level=Level.NAMESPACE, namespace=parts[1])
    else:
        raise not_found(path)
    if not rest:
        return place
    place = place._replace(level=Level.TYPE, type=rest[0])
    if len(rest) == 1:
        return place
    below = {"": _object, BY_LABEL: _label, HISTORY: _version}[view](place, rest[1:])
    if below is None:
        raise not_found(path)
    return below


def _object(place: Place, rest: list[str]) -> Place | None:
    place = place._replace(level=Level.OBJECT, name=rest[0])
    if len(rest) == 1:
        return place
    first = rest[1]
    if first in FILES and len(rest) == 2 and (place.namespace or first != EVENTS):
        return place._replace(level=Level.FILE, leaf=first)
    if first == LOGS and place.namespace and place.type.partition(".")[0] == "pods":
        return _log(place, rest[2:])
    return None


def _log(place: Place, rest: list[str]) -> Place | None:
    if rest and rest[0] in (PREVIOUS, TIMESTAMPS):
        place, rest = place._replace(variant=rest[0]), rest[1:]
    if not rest:
        return place._replace(level=Level.LOGS)
    match = _LOG.fullmatch(rest[0])
    if len(rest) > 1 or match is None:
        return None
    return place._replace(level=Level.LOG, leaf=match.group(1))


def _version(place: Place, rest: list[str]) -> Place | None:
    place = place._replace(level=Level.OBJECT, name=rest[0])
    if len(rest) == 1:
        return place
    if len(rest) == 2 and _REVISION.fullmatch(rest[1]):
        return place._replace(level=Level.REVISION, leaf=rest[1])
    return None


def _label(place: Place, rest: list[str]) -> Place | None:
    place = place._replace(level=Level.LABEL_KEY, key=key_of_component(rest[0]))
    if len(rest) > 1:
        place = place._replace(level=Level.LABEL_VALUE, leaf=value_of_component(rest[1]))
    if len(rest) > 2:
        place = place._replace(level=Level.LINK, name=rest[2])
    return place if len(rest) < 4 else None


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
