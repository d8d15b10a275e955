"""Expectations: what a controller did that its cache has not shown yet.

A controller that looks at a cache before its own last writes are in it would do them
again.  It notes how many creations and which deletions it awaits, and does nothing more
for that owner until they were seen or five minutes have passed.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller#ControllerExpectations
"""

from __future__ import annotations

from collections.abc import Iterable

from cove.client import Clock

__all__ = ["Expectations"]

TIMEOUT = 300.0


class _Expected:
    __slots__ = ("adds", "deletions", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.adds = 0
        self.deletions: set[str] = set()


class Expectations:
    """Awaited creations and deletions by the key of their owner."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected: dict[str, _Expected] = {}

    def satisfied(self, key: str) -> bool:
        """Whether nothing is awaited any more."""
        expected = self._expected.get(key)
        if expected is None:
            return True
        if expected.adds <= 0 and not expected.deletions:
            return True
        return self._clock.monotonic() - expected.since > TIMEOUT

    def expect(self, key: str, adds: int = 0, deletions: Iterable[str] = ()) -> None:
        """Await these and no others."""
        expected = self._expected[key] = _Expected(self._clock.monotonic())
        expected.adds = adds
        expected.deletions = set(deletions)

    def created(self, key: str, count: int = 1) -> None:
        """A creation was seen, or will not happen."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.adds -= count

    def deleted(self, key: str, pod: str) -> None:
        """A deletion was seen, or will not happen."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.deletions.discard(pod)

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._expected.pop(key, None)
