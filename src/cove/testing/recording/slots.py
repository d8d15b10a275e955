"""Slots: which calls were made by what stands in a ``with`` block.

::

    with slot() as s:
        doc = await client.get(PODS, "web", "default")
    s.last.response  # what the server answered with

A slot is bound to the context (:mod:`contextvars`) it was opened in: calls that other tasks
and threads make at the same time are not in it, those of tasks that were started inside are.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from cove.testing.timeline import Call

__all__ = ["Slot", "current_slot", "slot"]

_current: ContextVar[Slot | None] = ContextVar("cove_slot", default=None)


class Slot:
    """The calls made while it was open, in the order they began; entered once.

    A slot that is opened inside of another is a part of it: the outer one has its calls, too.
    ``parent`` is the id of the note that the calls are part of, 0 for none.
    """

    def __init__(self, parent: int = 0) -> None:
        self.calls: list[Call] = []
        self._outer: Slot | None = None
        self._open = False
        self.parent = parent

    @property
    def last(self) -> Call | None:
        """The call that began last, None if there was none."""
        return self.calls[-1] if self.calls else None

    def __enter__(self) -> Self:
        self._outer = _current.get()
        if self._outer is not None and not self.parent:
            self.parent = self._outer.parent
        self._open = True
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What a task does that outlives the block is not the block's.
        self._open = False
        with suppress(ValueError):
            # Left in another context than it was entered in (a fixture's end): nothing to undo.
            _current.reset(self._token)

    def add(self, call: Call) -> None:
        """Take a call, if the slot is still open; so do those around it."""
        if self._open:
            self.calls.append(call)
        if self._outer is not None:
            self._outer.add(call)


def slot(parent: int = 0) -> Slot:
    """A slot to be entered; ``parent`` is the note its calls are part of (an ``apply``)."""
    return Slot(parent)


def current_slot() -> Slot | None:
    """The innermost slot of this context."""
    return _current.get()
