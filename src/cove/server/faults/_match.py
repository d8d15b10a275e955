"""Match: which requests a fault is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from cove.server.request import Request

__all__ = ["EVERYBODY", "INTERNAL", "Match", "Some"]

# As who the cluster's own controllers and nodes ask.
INTERNAL = "system:apiserver"
# For ``users``: the cluster's own controllers and nodes too.
EVERYBODY: Final = "*"

VERBS = frozenset(
    ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
)

Some = str | Iterable[str] | None


def _set(values: Some) -> frozenset[str] | None:
    if values is None:
        return None
    return frozenset((values,) if isinstance(values, str) else values)


@dataclass(frozen=True, slots=True)
class Match:
    """Requests by what they are about and who makes them; None matches all.

    ``resources`` are ``pods``, ``deployments.apps`` (a name without group is any group's),
    ``pods/status``, ``*/scale``, ``*``; without them requests that are not about resources
    match too.  ``users`` None is everybody but the cluster's own controllers and nodes;
    ``"*"`` is everybody.  ``names``, ``agents`` (User-Agent) and ``paths`` are shell
    patterns.
    """

    verbs: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    namespaces: frozenset[str] | None = None
    names: frozenset[str] | None = None
    users: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    paths: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        verbs: Some = None,
        resources: Some = None,
        namespaces: Some = None,
        names: Some = None,
        users: Some = None,
        agents: Some = None,
        paths: Some = None,
    ) -> Match:
        """From a word or several each; raises ValueError for a verb that does not exist."""
        unknown = (_set(verbs) or frozenset()) - VERBS
        if unknown:
            raise ValueError(
                f"no such verb: {', '.join(sorted(unknown))}; there are {', '.join(sorted(VERBS))}"
            )
        return cls(
            _set(verbs),
            _set(resources),
            _set(namespaces),
            _set(names),
            _set(users),
            _set(agents),
            _set(paths),
        )

    def matches(self, request: Request) -> bool:
        """Whether a request, parsed and authenticated, is meant."""
        info = request.info
        user = request.user.name
        return (
            (
                user != INTERNAL
                if self.users is None
                else EVERYBODY in self.users or user in self.users
            )
            and (self.verbs is None or (info.is_resource and info.verb in self.verbs))
            and (self.namespaces is None or info.namespace in self.namespaces)
            and (self.resources is None or (info.is_resource and self._resource(request)))
            and _like(self.names, info.name)
            and _like(self.paths, request.path)
            and _like(self.agents, request.headers.get("User-Agent") or "")
        )

    def _resource(self, request: Request) -> bool:
        info = request.info
        tail = f"/{info.subresource}" if info.subresource else ""
        assert self.resources is not None
        named = {"*", f"{info.resource}{tail}", f"{info.resource}.{info.group}{tail}"}
        if tail:
            named.add(f"*{tail}")
        return not named.isdisjoint(self.resources)


def _like(patterns: frozenset[str] | None, text: str) -> bool:
    return patterns is None or any(fnmatchcase(text, pattern) for pattern in patterns)
