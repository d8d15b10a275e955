"""Which FlowSchema a request belongs to.

Requests are told what they were classified as; they are not queued: one process answers
them in the order they come.

Source: ``pkg/util/flowcontrol/rule.go`` of k8s.io/apiserver.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import orjson

from cove.server.request import Info, Request, User

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.store import Store

__all__ = ["LEVELS", "SCHEMAS", "flow_headers"]

SCHEMAS = "flowschemas.flowcontrol.apiserver.k8s.io"
LEVELS = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"
# Requests that were classified are remembered by what decides it, up to so many.
KNOWN = 4096
_ACCOUNT = "system:serviceaccount:"

Headers = list[tuple[str, str]]


class _Schema(NamedTuple):
    rules: list[dict[str, Any]]
    headers: Headers


class _Table:
    """The FlowSchemas of one state, in the order they are tried."""

    def __init__(self, schemas: object, levels: object) -> None:
        self.schemas = schemas
        self.levels = levels
        self.ordered: list[_Schema] = []
        self.known: dict[tuple[Any, ...], Headers] = {}


_tables: WeakKeyDictionary[Store, _Table] = WeakKeyDictionary()


def _table(api: Api) -> _Table:
    state = api.store.state
    schemas, levels = state.bucket(SCHEMAS), state.bucket(LEVELS)
    table = _tables.get(api.store)
    if table is None or table.schemas is not schemas or table.levels is not levels:
        table = _tables[api.store] = _Table(schemas, levels)
        uids = {s.name: s.uid for s in state.list(LEVELS)}
        found = []
        for stored in state.list(SCHEMAS):
            spec = orjson.loads(stored.data)["spec"]
            level = uids.get(spec["priorityLevelConfiguration"]["name"])
            if level is None:
                continue  # it dangles: as if it were not there
            headers = [
                ("X-Kubernetes-Pf-Flowschema-Uid", stored.uid),
                ("X-Kubernetes-Pf-Prioritylevel-Uid", level),
            ]
            order = (spec.get("matchingPrecedence", 1000), stored.name)
            found.append((order, _Schema(spec.get("rules") or [], headers)))
        table.ordered = [schema for _, schema in sorted(found, key=lambda item: item[0])]
    return table


def flow_headers(api: Api, request: Request) -> Headers:
    """The headers that tell how a request was classified; none where nothing matches."""
    table = _table(api)
    info, user = request.info, request.user
    who = (user.name, user.groups, info.verb)
    key: tuple[Any, ...] = (
        (*who, info.group, info.resource, info.subresource, info.namespace)
        if info.is_resource
        else (*who, request.path)
    )
    headers = table.known.get(key)
    if headers is None:
        headers = next(
            (
                schema.headers
                for schema in table.ordered
                if any(_matches(rule, info, user, request.path) for rule in schema.rules)
            ),
            [],
        )
        if len(table.known) >= KNOWN:
            table.known.clear()
        table.known[key] = headers
    return headers


def _matches(rule: dict[str, Any], info: Info, user: User, path: str) -> bool:
    if not any(_is_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if not info.is_resource:
        return any(
            _among(info.verb, other["verbs"])
            and any(_is_path(path, url) for url in other["nonResourceURLs"])
            for other in rule.get("nonResourceRules") or ()
        )
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    return any(
        _among(info.verb, other["verbs"])
        and _among(info.group, other["apiGroups"])
        and _among(resource, other["resources"])
        and (
            _among(info.namespace, other.get("namespaces") or ())
            if info.namespace
            else other.get("clusterScope", False)
        )
        for other in rule.get("resourceRules") or ()
    )


def _among(value: str, values: Iterable[str]) -> bool:
    return any(v in ("*", value) for v in values)


def _is_subject(subject: dict[str, Any], user: User) -> bool:
    kind = subject["kind"]
    if kind == "User":
        return subject["user"]["name"] in ("*", user.name)
    if kind == "Group":
        name = subject["group"]["name"]
        return name == "*" or user.in_group(name)
    account = subject["serviceAccount"]
    prefix = f"{_ACCOUNT}{account['namespace']}:"
    if account["name"] == "*":
        return user.name.startswith(prefix)
    return user.name == prefix + str(account["name"])


def _is_path(path: str, url: str) -> bool:
    if url == "*" or url == path:
        return True
    return url.endswith("/*") and path.startswith(url[:-1])
