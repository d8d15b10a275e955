"""What a request line means: the fields of the API that a call has on a timeline.

The table is the recorder's own, not the server's (:func:`cove.server.request.parse_info`):
a recorder tells what was asked for, also of a server that would not understand it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

__all__ = ["Asked", "asked", "bare_path", "is_discovery"]

# Forks and revisions of an embedded cluster are the same API at another address.
_PREFIX = re.compile(r"(?:/forks/[^/]+|/revisions/[0-9]+)(?=/|$)")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_READING = ("GET", "HEAD")
# Below a namespace's name: its own, not resources in it.
_OF_NAMESPACES = ("status", "finalize")


class Asked(NamedTuple):
    """The fields of a :class:`~cove.testing.timeline.Call`; all but ``kind`` are "" for ``http``."""

    kind: Literal["kube", "http"] = "http"
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


HTTP = Asked()


def bare_path(path: str) -> str:
    """The path without the prefixes of forks and revisions: "/" at least."""
    while match := _PREFIX.match(path):
        path = path[match.end() :]
    return path or "/"


def is_discovery(path: str) -> bool:
    """Whether a path tells what there is: /api, /api/V, /apis, /apis/G, /apis/G/V."""
    if path.startswith(("/forks/", "/revisions/")):
        path = bare_path(path)
    if path.count("/") > 4 or not path.startswith("/api"):
        return False
    parts = path.rstrip("/").split("/")[1:]
    if not all(parts):
        return False
    return (parts[0] == "api" and len(parts) <= 2) or (parts[0] == "apis" and len(parts) <= 3)


@lru_cache(maxsize=4096)
def asked(method: str, path: str, query: str = "") -> Asked:
    """The fields of a request; ``path`` and ``query`` are encoded, as they are sent."""
    parts = [unquote(part) for part in bare_path(path).rstrip("/").split("/")[1:]]
    if not all(parts):
        return HTTP
    if len(parts) > 2 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) > 3 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return HTTP
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource, *_ = (*rest, "", "")
    verb = _verb(method.upper(), name, query)
    return Asked("kube", verb, group, version, resource, subresource, namespace, name)


def _verb(method: str, name: str, query: str) -> str:
    if method in _READING:
        if name:
            return "get"
        return "watch" if _watches(query) else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return _VERBS.get(method) or method.lower()


def _watches(query: str) -> bool:
    if "watch" not in query:
        return False
    told = [value for key, value in parse_qsl(query, keep_blank_values=True) if key == "watch"]
    return bool(told) and told[0] in ("true", "1")
