"""Paths and operations of the OpenAPI documents.

What clients look for in them: an operation's kind and action (``x-kubernetes-…``), the
query parameters it takes (kubectl checks for dryRun and fieldValidation), and the types
of its bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cove.kube.catalogue._definitions import OpenAPIVersion

__all__ = ["Endpoint", "paths"]

_JSON = ("application/json", "application/yaml")
_STREAM = "application/json;stream=watch"
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
# What kubectl looks at to decide how it patches.
_CUSTOM_PATCHES = tuple(p for p in _PATCHES if "strategic" not in p)
_PRETTY = ("pretty",)
_CHANGE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_COLLECTION = (
    *_DELETE,
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
)
_TYPES = {
    "allowWatchBookmarks": "boolean",
    "force": "boolean",
    "gracePeriodSeconds": "integer",
    "limit": "integer",
    "orphanDependents": "boolean",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "watch": "boolean",
}


class Endpoint(NamedTuple):
    """One resource or subresource, and the references to the schemas of its bodies.

    ``subresource`` is "" for the resource itself; ``owner`` is the resource's own kind,
    ``kind`` that of the documents (a Scale of a Deployment); ``list`` is None where it has no list.
    """

    group: str
    version: str
    plural: str
    subresource: str
    namespaced: bool
    verbs: Sequence[str]
    owner: str
    kind: tuple[str, str, str]
    body: dict[str, Any] | None
    list: dict[str, Any] | None
    delete_options: dict[str, Any]
    status: dict[str, Any]
    patch: dict[str, Any]
    custom: bool = False

    @property
    def patches(self) -> Sequence[str]:
        """The media types of patches: custom resources take no strategic ones."""
        return _CUSTOM_PATCHES if self.custom else _PATCHES


# verb → (method, action, operationId's word)
_ITEM = {
    "get": ("get", "get", "read"),
    "update": ("put", "put", "replace"),
    "patch": ("patch", "patch", "patch"),
    "delete": ("delete", "delete", "delete"),
}
_ALL = {
    "list": ("get", "list", "list"),
    "create": ("post", "post", "create"),
    "deletecollection": ("delete", "deletecollection", "deleteCollection"),
}
_CONNECT = ("attach", "exec", "portforward", "proxy")


def paths(endpoint: Endpoint, version: OpenAPIVersion) -> dict[str, Any]:
    """The paths of a resource or subresource, with their operations."""
    group, at = endpoint.group, endpoint.version
    root = f"/apis/{group}/{at}" if group else f"/api/{at}"
    scoped = f"{root}/namespaces/{{namespace}}" if endpoint.namespaced else root
    collection = f"{scoped}/{endpoint.plural}"
    item = f"{collection}/{{name}}"
    make = _Maker(endpoint, version)
    if endpoint.subresource:
        path = f"{item}/{endpoint.subresource}"
        if endpoint.subresource in _CONNECT:
            verbs = _ITEM | {"create": _ALL["create"]}
            operations = {
                method: make.connect(method)
                for verb, (method, _, _) in verbs.items()
                if verb in endpoint.verbs
            }
        else:
            operations = make.operations(_ITEM | {"create": _ALL["create"]})
        return {path: {**operations, "parameters": make.place(named=True)}}
    out: dict[str, Any] = {}
    if operations := make.operations(_ALL):
        out[collection] = {**operations, "parameters": make.place(named=False)}
    if operations := make.operations(_ITEM):
        out[item] = {**operations, "parameters": make.place(named=True)}
    if endpoint.namespaced and "list" in endpoint.verbs:
        out[f"{root}/{endpoint.plural}"] = {
            "get": make.operation("list", *_ALL["list"], suffix="ForAllNamespaces")
        }
    return out


def _words(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in text.split("."))


class _Maker:
    """Operations of one endpoint in one version of OpenAPI."""

    def __init__(self, endpoint: Endpoint, version: OpenAPIVersion) -> None:
        self.endpoint = endpoint
        self.version = version
        group = endpoint.group.removesuffix(".k8s.io") or "core"
        self.tag = f"{_words(group)[:1].lower()}{_words(group)[1:]}_{endpoint.version}"
        self.words = _words(group) + _words(endpoint.version)

    def operations(self, verbs: dict[str, tuple[str, str, str]]) -> dict[str, Any]:
        return {
            method: self.operation(verb, method, action, word)
            for verb, (method, action, word) in verbs.items()
            if verb in self.endpoint.verbs
        }

    def operation(
        self, verb: str, method: str, action: str, word: str, *, suffix: str = ""
    ) -> dict[str, Any]:
        e = self.endpoint
        body, answer = e.body, e.body
        query: tuple[str, ...] = _PRETTY
        if verb == "list":
            query, body, answer = _PRETTY + _LIST, None, e.list
        elif verb in ("create", "update"):
            query = _PRETTY + _CHANGE
        elif verb == "patch":
            query, body = (*_PRETTY, *_CHANGE, "force"), e.patch
        elif verb in ("delete", "deletecollection"):
            query = _PRETTY + (_DELETE if verb == "delete" else _COLLECTION)
            body, answer = e.delete_options, e.status
        else:
            body = None
        doc = self._frame(action, word, suffix)
        doc["parameters"] = [self._query(name) for name in query]
        answers: tuple[str, ...] = ("200",)
        if verb == "create":
            answers = ("200", "201", "202")
        elif verb in ("update", "patch"):
            answers = ("200", "201")
        self._bodies(doc, verb, body, answer, answers)
        return doc

    def connect(self, method: str) -> dict[str, Any]:
        """An operation of a stream or proxy, with no types to tell."""
        doc = self._frame("connect", f"connect{method.capitalize()}", "")
        text = {"type": "string"}
        if self.version == 2:
            doc["responses"] = {"200": {"description": "OK", "schema": text}}
            doc["produces"] = ["*/*"]
        else:
            doc["responses"] = {"200": {"description": "OK", "content": {"*/*": {"schema": text}}}}
        return doc

    def _frame(self, action: str, word: str, suffix: str) -> dict[str, Any]:
        e = self.endpoint
        group, version, kind = e.kind
        scope = "Namespaced" if e.namespaced and not suffix else ""
        name = _words(e.subresource) if e.subresource else ""
        return {
            "operationId": f"{word}{self.words}{scope}{e.owner}{name}{suffix}",
            "tags": [self.tag],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {
                "group": group,
                "kind": kind,
                "version": version,
            },
        }

    def _bodies(
        self,
        doc: dict[str, Any],
        verb: str,
        body: dict[str, Any] | None,
        answer: dict[str, Any] | None,
        answers: Sequence[str],
    ) -> None:
        produces = (*_JSON, _STREAM) if verb == "list" else _JSON
        consumes = self.endpoint.patches if verb == "patch" else _JSON
        if self.version == 2:
            doc["consumes"] = list(consumes)
            doc["produces"] = list(produces)
            if body is not None:
                doc["parameters"] = [
                    *doc["parameters"],
                    {"name": "body", "in": "body", "schema": body},
                ]
            schema = {"schema": answer} if answer is not None else {}
            doc["responses"] = {code: {"description": "OK", **schema} for code in answers}
            return
        if body is not None:
            doc["requestBody"] = {"content": {media: {"schema": body} for media in consumes}}
        content = {media: {"schema": answer} for media in produces} if answer is not None else {}
        doc["responses"] = {
            code: {"description": "OK", **({"content": content} if content else {})}
            for code in answers
        }

    def place(self, *, named: bool) -> list[dict[str, Any]]:
        """The parameters that a path itself has."""
        names = (["name"] if named else []) + (["namespace"] if self.endpoint.namespaced else [])
        return [self._parameter(name, "path", "string", required=True) for name in names]

    def _query(self, name: str) -> dict[str, Any]:
        return self._parameter(name, "query", _TYPES.get(name, "string"), required=False)

    def _parameter(self, name: str, where: str, type_: str, *, required: bool) -> dict[str, Any]:
        doc: dict[str, Any] = {"name": name, "in": where}
        if required:
            doc["required"] = True
        if self.version == 2:
            return {**doc, "type": type_, "uniqueItems": True}
        return {**doc, "schema": {"type": type_, "uniqueItems": True}}
