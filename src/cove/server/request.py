"""Requests and responses as the verbs see them, independent of how they arrived.

The HTTPS front (:mod:`cove.server.http`) and the in-process connection both make
:class:`Request` values and consume :class:`Response` values; nothing below them knows
about sockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

__all__ = ["Info", "Request", "Response", "User", "json_response", "parse_info"]


class User:
    """Who a request is from: the attributes of ``authentication.k8s.io/v1`` UserInfo."""

    __slots__ = ("_groups", "extra", "groups", "name", "uid")

    def __init__(
        self,
        name: str,
        groups: tuple[str, ...] = (),
        uid: str = "",
        extra: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.name = name
        self.groups = groups
        self.uid = uid
        self.extra: Mapping[str, tuple[str, ...]] = extra or {}
        self._groups = frozenset(groups)

    def in_group(self, group: str) -> bool:
        """Whether the user is a member of ``group``."""
        return group in self._groups

    def info(self) -> dict[str, Any]:
        """The UserInfo document."""
        doc: dict[str, Any] = {}
        if self.name:
            doc["username"] = self.name
        if self.uid:
            doc["uid"] = self.uid
        if self.groups:
            doc["groups"] = list(self.groups)
        if self.extra:
            doc["extra"] = {k: list(v) for k, v in self.extra.items()}
        return doc


_ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Info:
    """What a path means: upstream's RequestInfo.

    ``verb`` is Kubernetes' verb (get, list, watch, create, update, patch, delete,
    deletecollection) for resources and the lower-case method for other paths.
    """

    __slots__ = (
        "group",
        "is_resource",
        "name",
        "namespace",
        "parts",
        "resource",
        "subresource",
        "verb",
        "version",
    )

    def __init__(self) -> None:
        self.is_resource = False
        self.verb = ""
        self.group = ""
        self.version = ""
        self.namespace = ""
        self.resource = ""
        self.subresource = ""
        self.name = ""
        # The path's segments after the resource's name and subresource (proxy paths).
        self.parts: tuple[str, ...] = ()


_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}

# Under /api/v1/namespaces/NAME/: not resources of the namespace but the namespace's own.
_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))


@lru_cache(maxsize=256)
def _query(text: str) -> dict[str, list[str]]:
    # A client says the same with nearly every request: its field manager, its selectors.
    query: dict[str, list[str]] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        query.setdefault(key, []).append(value)
    return query


class Request:
    """One call of the API.  ``headers`` looks names up without regard to case."""

    __slots__ = (
        "body",
        "headers",
        "info",
        "method",
        "path",
        "query_string",
        "upgrade",
        "user",
        "warnings",
    )

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        user: User | None = None,
        upgrade: Any = None,
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query
        self.headers: Mapping[str, str] = headers or {}
        self.body = body
        self.user = user or _ANONYMOUS
        self.info: Info = _NOTHING
        # Texts for Warning headers, in order; added by whoever notices.
        self.warnings: list[str] = []
        # The front's own request, for those few handlers that take the connection over.
        self.upgrade = upgrade

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name, in order; not to be changed."""
        return _query(self.query_string)

    def param(self, name: str) -> str:
        """The first value of a query parameter, "" if absent."""
        if not self.query_string:
            return ""
        values = self.query.get(name)
        return values[0] if values else ""

    def warn(self, text: str) -> None:
        """Add a Warning header; the same text is sent once."""
        if text not in self.warnings:
            self.warnings.append(text)


class Response:
    """An answer: either ``body`` or ``stream`` (chunks, sent as they come)."""

    __slots__ = ("body", "content_type", "headers", "status", "stream", "taken")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: list[tuple[str, str]] | None = None,
        stream: AsyncIterator[bytes] | None = None,
        taken: Any = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers: list[tuple[str, str]] = headers or []
        self.stream = stream
        # The front's own response where a handler took the connection over: all is said.
        self.taken = taken


def json_response(doc: Any, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(status, orjson.dumps(doc))


_CACHE: dict[tuple[str, str], Info] = {}
_CACHE_LIMIT = 4096


def parse_info(method: str, path: str) -> Info:
    """What a request line means, watches excepted (they are told by the query).

    Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
    """
    key = (method, path)
    found = _CACHE.get(key)
    if found is None:
        found = _parse(method, path)
        if len(_CACHE) >= _CACHE_LIMIT:
            _CACHE.clear()
        _CACHE[key] = found
    return found


def _parse(method: str, path: str) -> Info:
    info = Info()
    info.verb = method.lower()
    parts = path.strip("/").split("/")
    if "%" in path:
        parts = [unquote(p) for p in parts]
    if len(parts) < 3:
        return info
    if parts[0] == "api":
        parts = parts[1:]
    elif parts[0] == "apis":
        if len(parts) < 4:
            return info
        info.group = parts[1]
        parts = parts[2:]
    else:
        return info
    info.is_resource = True
    info.version = parts[0]
    parts = parts[1:]
    if parts[0] in ("watch", "proxy") and len(parts) > 1:
        info.verb = parts[0]
        parts = parts[1:]
    else:
        info.verb = _VERBS.get(method, "")
    if parts[0] == "namespaces":
        if len(parts) > 1:
            info.namespace = parts[1]
            if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
                parts = parts[2:]
    info.resource = parts[0]
    if len(parts) > 1:
        info.name = parts[1]
    if len(parts) > 2:
        info.subresource = parts[2]
        info.parts = tuple(parts[3:])
    if not info.name:
        if info.verb == "get":
            info.verb = "list"
        elif info.verb == "delete":
            info.verb = "deletecollection"
    return info


_NOTHING = Info()
