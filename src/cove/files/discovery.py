"""Types: what a server serves, asked anew with every listing.

Both documents of aggregated discovery are fetched together; where a server knows only the
lists of each group and version, all of those are fetched together.  A group-version that
fails hides nobody else's types, but a name that might be among its own is answered with its
error, not with "no such file".

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from cove.client import Client
from cove.client.errors import ClientError
from cove.kube.gvk import GVR, parse_api_version, version_priority
from cove.kube.status import StatusError

__all__ = ["Type", "Types", "together"]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
JSON = "application/json"
# Requests at once; upstream's clients allow themselves as many.
TOGETHER = 32
Failure = StatusError | ClientError
T = TypeVar("T")
# Where it is, its kind, whether it is namespaced, whether it can be watched.
Found = tuple[GVR, str, bool, bool]


class Type(NamedTuple):
    """A collection as a directory; ``shown`` is its name, "pods" or "widgets.example.com".

    ``watched`` False: its server tells no changes.
    """

    gvr: GVR
    kind: str
    namespaced: bool
    shown: str
    watched: bool = True

    @property
    def qualified(self) -> str:
        """``deployments.apps``; of the core group just ``pods``."""
        return f"{self.gvr.resource}.{self.gvr.group}" if self.gvr.group else self.gvr.resource


class Known(NamedTuple):
    """What discovery found: the types, and what went wrong with which group-version."""

    types: tuple[Type, ...]
    failures: tuple[tuple[str, Failure], ...]
    by_name: dict[tuple[bool, str], Type]


class Types:
    """The types of one server.

    :meth:`listed` always asks; :meth:`find` believes what is known and asks when a name is
    not.  Raises StatusError and ClientError when the server's root does not answer; that is
    not remembered.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: Known | None = None
        self._asking: asyncio.Task[Known] | None = None

    def forget(self) -> None:
        """A type turned out to be gone: ask next time."""
        self._known = None

    def peek(self, namespaced: bool, name: str) -> Type | None:
        """The type called so, if it is known already."""
        known = self._known
        return None if known is None else known.by_name.get((namespaced, name))

    async def listed(self, namespaced: bool) -> list[Type]:
        """The types of a scope, as the server has them now."""
        known = await self._ask()
        return [t for t in known.types if t.namespaced is namespaced]

    async def find(self, namespaced: bool, name: str) -> Type | None:
        """The type called so, plainly or with its group; None if there is none.

        Raises the error of a group-version that failed and might have it.
        """
        found = self.peek(namespaced, name)
        if found is not None:
            return found
        known = await self._ask()
        found = known.by_name.get((namespaced, name))
        if found is None:
            for group, failure in known.failures:
                _, dot, wanted = name.partition(".")
                if not dot or wanted == group:
                    raise failure
        return found

    async def used(self, types: Sequence[Type], namespace: str) -> list[Type]:
        """Those of ``types`` that have objects; pods always, and those that cannot be asked.

        Looking into what cannot be listed tells why.
        """
        limit = asyncio.Semaphore(TOGETHER)

        async def empty(type_: Type) -> bool:
            if type_.gvr.resource == "pods" and not type_.gvr.group:
                return False
            async with limit:
                try:
                    async for page in self._client.pages(
                        type_.gvr, namespace or None, page_size=1, metadata_only=True
                    ):
                        return not page.items
                except (StatusError, ClientError):
                    return False
            return True

        hidden = await asyncio.gather(*map(empty, types))
        return [t for t, hide in zip(types, hidden, strict=True) if not hide]

    async def _ask(self) -> Known:
        """What the server has now; who asks at the same time shares the answer."""
        task = self._asking
        if task is None or task.done():
            task = self._asking = asyncio.create_task(self._load(), name="discovery of types")
            task.add_done_callback(_retrieved)
        # Who is cancelled does not take the answer away from the others.
        self._known = await asyncio.shield(task)
        return self._known

    async def close(self) -> None:
        """End a question that is under way."""
        task, self._asking = self._asking, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _load(self) -> Known:
        core, groups = await together(self._fetch("/api"), self._fetch("/apis"))
        # In the order of preference; None where the group-version is to be asked itself.
        sections: dict[str, list[Found] | None] = {}
        for path, doc in (("/api", core), ("/apis", groups)):
            if doc.get("kind") == "APIGroupDiscoveryList":
                sections |= _aggregated(doc)
            else:
                sections |= dict.fromkeys(_versions(path, doc))
        again = [path for path, entries in sections.items() if entries is None]
        limit = asyncio.Semaphore(TOGETHER)

        async def one(path: str) -> dict[str, Any] | Failure:
            async with limit:
                try:
                    doc = await self._client.request("GET", path, accept=JSON)
                except (StatusError, ClientError) as e:
                    return e
                return doc if isinstance(doc, dict) else {}

        failures: list[tuple[str, Failure]] = []
        for path, answer in zip(again, await asyncio.gather(*map(one, again)), strict=True):
            if isinstance(answer, dict):
                sections[path] = _listed(path, answer)
            elif not (isinstance(answer, StatusError) and answer.code == 404):
                # One that is not found has gone since: it holds nothing.
                failures.append((_group(path), answer))
        return _known([e for entries in sections.values() for e in entries or ()], failures)

    async def _fetch(self, path: str) -> dict[str, Any]:
        doc = await self._client.request("GET", path, accept=AGGREGATED)
        return doc if isinstance(doc, dict) else {}


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """What all of them give; the first error only when none is under way any more."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[T]", results)


def _retrieved(task: asyncio.Task[Known]) -> None:
    """Nobody may be left to take the error."""
    if not task.cancelled():
        task.exception()


def _group(path: str) -> str:
    parts = path.split("/")
    return parts[2] if parts[1] == "apis" else ""


def _usable(name: str, verbs: Iterable[str]) -> bool:
    return "/" not in name and {"get", "list"} <= set(verbs)


def _aggregated(doc: dict[str, Any]) -> dict[str, list[Found] | None]:
    """The types of an aggregated document by group-version.

    None for a stale one, to be asked itself: its server did not answer when asked last.
    """
    out: dict[str, list[Found] | None] = {}
    for group in doc.get("items", ()):
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions", ()):
            path = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
            if version.get("freshness") == "Stale":
                out[path] = None
                continue
            out[path] = [
                (
                    GVR(name, version["version"], resource["resource"]),
                    (resource.get("responseKind") or {}).get("kind", ""),
                    resource.get("scope") == "Namespaced",
                    "watch" in resource["verbs"],
                )
                for resource in version.get("resources", ())
                if _usable(resource["resource"], resource.get("verbs", ()))
            ]
    return out


def _versions(path: str, doc: dict[str, Any]) -> list[str]:
    """The paths of all group-versions of a root document, the preferred one of a group first."""
    if path == "/api":
        return [f"/api/{v}" for v in doc.get("versions", ())]
    out = []
    for group in doc.get("groups", ()):
        preferred = (group.get("preferredVersion") or {}).get("groupVersion", "")
        served = [v["groupVersion"] for v in group.get("versions", ())]
        served.sort(key=lambda text: version_priority(parse_api_version(text)[1]))
        if preferred in served:
            served.remove(preferred)
            served.insert(0, preferred)
        out += [f"/apis/{version}" for version in served]
    return out


def _listed(path: str, doc: dict[str, Any]) -> list[Found]:
    parts = path.split("/")
    group, version = (parts[2], parts[3]) if parts[1] == "apis" else ("", parts[2])
    return [
        (
            GVR(group, version, r["name"]),
            r.get("kind", ""),
            bool(r.get("namespaced")),
            "watch" in r["verbs"],
        )
        for r in doc.get("resources", ())
        if _usable(r["name"], r.get("verbs", ()))
    ]


def _known(found: Iterable[Found], failures: list[tuple[str, Failure]]) -> Known:
    first: dict[tuple[str, str], Found] = {}
    for entry in found:
        first.setdefault((entry[0].group, entry[0].resource), entry)
    groups = Counter(resource for _, resource in first)
    types = []
    by_name: dict[tuple[bool, str], Type] = {}
    for gvr, kind, namespaced, watched in first.values():
        shown = gvr.resource
        if gvr.group and groups[gvr.resource] > 1:
            shown = f"{gvr.resource}.{gvr.group}"
        type_ = Type(gvr, kind, namespaced, shown, watched)
        types.append(type_)
        by_name.setdefault((namespaced, gvr.resource), type_)
    for type_ in types:
        by_name.setdefault((type_.namespaced, type_.qualified), type_)
    return Known(tuple(sorted(types, key=lambda t: t.shown)), tuple(failures), by_name)
