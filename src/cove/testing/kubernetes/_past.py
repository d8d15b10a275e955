"""Past: the cluster as it was, and what has changed since; embedded clusters remember."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from cove.client.history import Version
from cove.kube import status as st
from cove.server.store import Expired
from cove.testing.kubernetes._targets import resolve
from cove.testing.place import NotHereError, Tape

if TYPE_CHECKING:
    from cove.server.store import State, Stored
    from cove.testing.kubernetes._facade import Kubernetes
    from cove.testing.place import Place

__all__ = ["Difference", "Past"]


class Difference(NamedTuple):
    """One object that differs between two revisions.

    ``change`` is ``added``, ``modified`` or ``deleted``; ``before`` and ``after`` are None where it
    was not there; ``text`` is a unified diff of YAML.
    """

    change: str
    resource: str
    namespace: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    text: str


class Past:
    """What an embedded cluster remembers; NotHereError for the other engines."""

    def __init__(self, place: Place) -> None:
        if place.running is None:
            raise NotHereError(
                f"{place.name} keeps no history: only the embedded engine does, not {place.engine}"
            )
        self._place = place
        self._running = place.running

    def revision(self) -> int:
        """The revision now."""
        return self._running.api.store.revision

    def at(self, revision: int) -> Place:
        """The place as it was at a revision; what is read there is not on the timeline."""
        past = self._running.at(revision)
        return replace(
            self._place,
            client=past,
            plain=past,
            url=f"{self._place.url}/revisions/{revision}",
            tape=Tape(),
            running=None,
        )

    async def versions(self, k8s: Kubernetes, what: str, namespace: str | None) -> list[Version]:
        """The versions of an object; see :meth:`cove.engines.embedded.Running.history`."""
        target = await resolve(self._place.client, what, namespace or k8s.namespace)
        return await self._running.history(target.gvr, target.name, target.namespace)

    def diff(self, before: int, after: int | None) -> list[Difference]:
        """What differs, by resource, namespace and name.  Raises StatusError 410."""
        bridge = self._place.bridge
        first, second = bridge.do(lambda: (self._state(before), self._state(after)))
        found = []
        for resource in sorted({*first.resources(), *second.resources()}):
            old = {(s.namespace, s.name): s for s in first.list(resource)}
            new = {(s.namespace, s.name): s for s in second.list(resource)}
            for key in sorted(old.keys() | new.keys()):
                one, other = old.get(key), new.get(key)
                if one is None or other is None or one.revision != other.revision:
                    found.append(_difference(resource, one, other))
        return found

    def _state(self, revision: int | None) -> State:
        store = self._running.api.store
        if revision is None:
            return store.state
        try:
            return store.at(revision)
        except Expired as e:
            raise st.expired(f"too old resource version: {revision} ({e.oldest})") from e


def _difference(resource: str, old: Stored | None, new: Stored | None) -> Difference:
    there = new or old
    assert there is not None, "it is in one of the two"
    before = None if old is None else orjson.loads(old.data)
    after = None if new is None else orjson.loads(new.data)
    change = "added" if old is None else "deleted" if new is None else "modified"
    nothing: dict[str, Any] = {"metadata": {}}
    first = Version("PRESENT", old.revision if old else 0, None, before or nothing)
    second = Version("PRESENT", new.revision if new else 0, None, after or nothing)
    return Difference(
        change, resource, there.namespace, there.name, before, after, first.diff(second)
    )
