"""Meters: who counts what an operator does; nobody, unless metrics are served."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol

from cove.operator.runtime.queue import Observer

if TYPE_CHECKING:
    from cove.operator.runtime.stores import Stores

__all__ = ["Ended", "Meter", "Meters", "Unmetered"]

# How a reconcile ended; controller-runtime's words, and an error that is not tried again.
Ended = Literal["success", "error", "requeue", "requeue_after", "terminal"]


class Meter(Observer, Protocol):
    """Counts for one controller; calls return at once."""

    def ended(self, how: Ended) -> None:
        """A key was worked on."""


class Meters(Protocol):
    """Counts for an operator."""

    def controller(self, name: str, workers: int) -> Meter:
        """Who counts for a controller."""

    def stores(self, stores: Stores) -> None:
        """What is followed from now on, in place of what was."""

    def span(self, controller: str, handler: str, key: str) -> AbstractContextManager[object]:
        """What a call of a handler is inside of: a trace's span, where traces are made."""


class _Nothing:
    def added(self) -> None: ...
    def taken(self, waited: float) -> None: ...
    def finished(self, took: float) -> None: ...
    def retried(self) -> None: ...
    def ended(self, how: Ended) -> None: ...


class Unmetered:
    """Counts nothing."""

    def controller(self, name: str, workers: int) -> Meter:
        """Nobody."""
        return _Nothing()

    def stores(self, stores: Stores) -> None:
        """Nobody looks."""

    def span(self, controller: str, handler: str, key: str) -> AbstractContextManager[object]:
        """Nothing."""
        return nullcontext()
