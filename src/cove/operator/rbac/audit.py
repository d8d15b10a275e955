"""Audit: every request of an operator in a test, held against what it was granted.

An Audit is a transport around a client's: give the operator :meth:`Audit.client`, let it do
what it does, and ask :meth:`Audit.report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import orjson

from cove.client import Answer, Client, Stream, Transport
from cove.operator.entities import Entity, info
from cove.operator.entities._entity import plural_of
from cove.operator.rbac.permissions import CLUSTER, Permission, granted, policy_rules

__all__ = ["Audit", "Report", "Use"]

Doc = dict[str, Any]
_METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
# What everybody who is authenticated may read: the ClusterRole system:discovery.
_DISCOVERY = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
]


class Use(NamedTuple):
    """What a request asked for, as an authorizer sees it; ``namespace`` "" is none or all."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    url: str = ""

    @property
    def permission(self) -> Permission:
        """What it takes at least."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        place = self.namespace or CLUSTER
        return Permission(place, self.group, resource, self.verb, self.name, self.url)

    def __str__(self) -> str:
        return str(self.permission)


@dataclass(frozen=True, slots=True)
class Report:
    """How what was used and what was granted differ; false where they do not.

    ``missing`` was used and is not granted, ``unused`` is granted and was never used.
    """

    missing: tuple[Use, ...]
    unused: tuple[Permission, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unused)

    def __str__(self) -> str:
        lines = [f"used, but not granted: {use}" for use in self.missing]
        lines += [f"granted, but never used: {permission}" for permission in self.unused]
        return "\n".join(lines) or "what was granted is what was used"


class Audit:
    """A transport that counts what is asked for; ``transport`` stays its owner's to close.

    ``kinds`` are those that own others, where their plural is not the usual one.
    ``uses`` says how often each was asked for, ``refused`` those that were answered 403.
    """

    def __init__(self, transport: Transport, kinds: Iterable[type[Entity]] = ()) -> None:
        self._transport = transport
        self._plurals = {(info(cls).group, info(cls).kind): info(cls).plural for cls in kinds}
        self.uses: Counter[Use] = Counter()
        self.refused: Counter[Use] = Counter()

    def client(self, of: Client) -> Client:
        """A client that speaks through the audit, otherwise like ``of``."""
        return Client(self, user_agent=of.user_agent, namespace=of.namespace)

    # -- a transport

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send it on, and note what it was."""
        answer = await self._transport.request(
            method, path, query=query, headers=headers, body=body
        )
        use = use_of(method, path, query)
        if answer.status == 403 and method == "PATCH" and b" cannot create " in answer.body:
            use = use._replace(verb="create")
        self._note(use, answer.status)
        if method in _METHODS and answer.status < 300:
            if method == "PATCH" and answer.status == 201:
                # An apply that creates has to be allowed both.
                self._note(use._replace(verb="create"), answer.status)
            self._note_owners(use, body)
        return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """Hand it through, and note what it was."""
        async with self._transport.stream(method, path, query=query, headers=headers) as stream:
            self._note(use_of(method, path, query), stream.status)
            yield stream

    async def close(self) -> None:
        """Nothing: the transport is its owner's."""

    def _note(self, use: Use, status: int) -> None:
        if status in (401, 404, 405) and not use.resource:
            return
        self.uses[use] += 1
        if status == 403:
            self.refused[use] += 1

    def _note_owners(self, use: Use, body: bytes) -> None:
        """Who blocks the deletion of an owner needs the right to change its finalizers."""
        if b"blockOwnerDeletion" not in body:
            return
        doc = orjson.loads(body)
        metadata = doc.get("metadata") if isinstance(doc, dict) else None
        for owner in (metadata or {}).get("ownerReferences") or ():
            if owner.get("blockOwnerDeletion"):
                group = owner["apiVersion"].rpartition("/")[0]
                kind = owner["kind"]
                plural = self._plurals.get((group, kind)) or plural_of(kind.lower())
                self._note(Use("update", group, plural, "finalizers", use.namespace), 200)

    # -- what it comes to

    def report(self, documents: Iterable[Mapping[str, Any]]) -> Report:
        """What was used against what the Roles and ClusterRoles among documents grant."""
        given = granted(documents)
        open_ = [Permission(CLUSTER, "", "", "get", url=url) for url in _DISCOVERY]
        used = [use.permission for use in self.uses]
        return Report(
            missing=tuple(
                sorted(
                    use
                    for use in self.uses
                    if not any(one.covers(use.permission) for one in (*given, *open_))
                )
            ),
            unused=tuple(sorted(one for one in given if not any(one.covers(u) for u in used))),
        )

    def rules(self) -> dict[str, list[Doc]]:
        """The rules that would just have done, by namespace, "*" for everywhere.

        Names of objects are left out: the next ones are called differently.
        """
        places: dict[str, list[Permission]] = {}
        for use in self.uses:
            if use.resource:
                one = use.permission._replace(name="")
                places.setdefault(one.place, []).append(one)
        wide = places.get(CLUSTER, [])
        return {
            place: policy_rules(found)
            for place, listed in sorted(places.items())
            if (
                found := [
                    p for p in listed if place == CLUSTER or not any(w.covers(p) for w in wide)
                ]
            )
        }


def use_of(method: str, path: str, query: str = "") -> Use:
    """What a request asks for, as the API server tells its authorizer.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return Use(method.lower(), url=path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    resource, name, sub = (*rest, "", "")[:3]
    options = parse_qs(query)
    watching = options.get("watch", ["false"])[0] in ("true", "1")
    if method in ("GET", "HEAD"):
        verb = "get" if name else "watch" if watching else "list"
    elif method == "DELETE":
        verb = "delete" if name else "deletecollection"
    else:
        verb = _METHODS.get(method, method.lower())
    if verb in ("list", "watch", "deletecollection") and not name:
        name = _selected(options.get("fieldSelector", [""])[0])
    return Use(verb, group, resource, sub, namespace, name)


def _selected(selector: str) -> str:
    """The one name that a field selector asks for."""
    for term in selector.split(","):
        key, _, value = term.partition("=")
        if key == "metadata.name" and value:
            return value.removeprefix("=")
    return ""
