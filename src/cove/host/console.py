"""Console: an application that runs, on a terminal or in a log: lines, states, URLs.

Writing happens in a thread of its own: a terminal that stands still does not stop the
application, it misses lines and is told how many.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Self, TextIO

import msgspec

from cove.host.logs import Line
from cove.host.states import STOPPED, State, Status

__all__ = ["Console", "urls"]

# Lines that the terminal may be behind.
BEHIND = 10_000
# Seconds that a terminal which stands still is waited for at the end.
PATIENCE = 2.0
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_STATE_COLOURS = {
    State.RUNNING: 32,
    State.FINISHED: 32,
    State.UNHEALTHY: 33,
    State.FAILED_TO_START: 31,
    State.EXITED: 31,
}


class Console:
    """Shows what happens; ``with Console(names) as console``.

    ``json`` makes a document of each thing, ``{"line": …}``, ``{"status": …}`` or
    ``{"message": …}``.
    """

    def __init__(
        self, names: Sequence[str], out: TextIO | None = None, *, json: bool = False
    ) -> None:
        self._out = out if out is not None else sys.stdout
        self._json = json
        self._colour = self._out.isatty()
        self._width = max((len(name) for name in names), default=4)
        self._colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self._queue: queue.Queue[str | None] = queue.Queue(BEHIND)
        self._missed = 0
        self._thread = threading.Thread(target=self._work, name="cove console", daemon=True)
        self._states: dict[str, tuple[State, str]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._queue.put(None, timeout=PATIENCE)
        except queue.Full:
            return  # nobody reads: the thread is a daemon and ends with us
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        while True:
            text = self._queue.get()
            if text is None:
                return
            try:
                self._out.write(text)
                if self._queue.empty():
                    self._out.flush()
            except (OSError, ValueError):
                return  # the terminal is gone

    def _put(self, text: str) -> None:
        try:
            if self._missed:
                self._queue.put_nowait(f"… {self._missed} lines were not shown\n")
                self._missed = 0
            self._queue.put_nowait(text)
        except queue.Full:
            self._missed += 1

    def say(self, text: str) -> None:
        """A line of our own."""
        if self._json:
            self._document(message=text)
            return
        self._put(f"{text}\n")

    def line(self, line: Line) -> None:
        """A line that a resource said."""
        if self._json:
            time = line.time.isoformat()
            self._document(line={"time": time, "name": line.name, "text": line.text})
            return
        self._put(f"{self._prefix(line.name)} {line.text}\n")

    def _document(self, **doc: Any) -> None:
        self._put(msgspec.json.encode(doc).decode() + "\n")

    def _prefix(self, name: str) -> str:
        text = f"{name:>{self._width}} |"
        # Who is not known from the beginning, such as a pod, gets the next colour.
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        return self._paint(text, colour)

    def _paint(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colour else text

    async def state(self, status: Status) -> None:
        """A resource came into another state."""
        if self._json:
            self._document(status=status.to_dict())
            return
        before = self._states.get(status.name)
        self._states[status.name] = now = (status.state, status.reason)
        # What a start waits for is progress; why one that runs says something else is not.
        if before == now or (before and before[0] is status.state is State.RUNNING):
            return
        if status.state is State.NOT_STARTED and not status.reason:
            return
        said = self._paint(str(status.state), _STATE_COLOURS.get(status.state, 90))
        # Why something failed by itself has just been a line of its own.
        silent = status.failed and not status.because_of and status.reason != STOPPED
        more = f": {status.reason}" if status.reason and not silent else ""
        self._put(f"{self._prefix(status.name)} {said}{more}\n")

    def table(self, statuses: Iterable[Status]) -> None:
        """The URLs of all that has one."""
        rows = urls(statuses)
        if rows and not self._json:
            width = max(len(name) for name, _ in rows)
            self._put("".join(f"  {name:<{width}}  {url}\n" for name, url in rows))


def urls(statuses: Iterable[Status]) -> list[tuple[str, str]]:
    """Names and URLs of what has one."""
    return [(status.name, status.url) for status in statuses if status.url]
