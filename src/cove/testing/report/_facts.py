"""What the reports have in common: which assertion a test failed by, and what surrounds it."""

from __future__ import annotations

from collections.abc import Sequence

from cove.testing.timeline import Assertion, Call, Note, Timeline
from cove.testing.words import call_title

__all__ = [
    "FAILED",
    "around",
    "duration",
    "failing",
    "one_line",
    "outcome_of",
    "result_of",
    "told_at_failure",
]

FAILED = ("failed", "error")
# Notes that are gathered when a test has failed: the state of things, not what happened.
AT_FAILURE = ("pods", "event", "pod-log")


def failing(timeline: Timeline) -> Assertion | None:
    """The assertion that a test failed by: the last that was not so; None if it was none.

    Those before it were tried again, or expected by ``pytest.raises``.
    """
    if timeline.outcome not in FAILED:
        return None
    made = [assertion for assertion in timeline.assertions if not assertion.passed]
    return made[-1] if made else None


def around(timeline: Timeline, at: float, count: int) -> list[Call]:
    """The last calls that began before a moment, the nearest last."""
    return [call for call in timeline.calls if call.at <= at][-count:]


def told_at_failure(timeline: Timeline) -> list[Note]:
    """What was gathered of the cluster when the test failed: pods, events, logs, in this order."""
    notes = [note for note in timeline.notes if note.kind in AT_FAILURE]
    return sorted(notes, key=lambda note: AT_FAILURE.index(note.kind))


def duration(seconds: float | None) -> str:
    """``4 ms``, ``1.25 s``, ``2 min 5 s``; ``open`` where it has not ended."""
    if seconds is None:
        return "open"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def result_of(call: Call) -> str:
    """``200``, ``409 already exists``, ``no answer: connection refused``."""
    status = str(call.status) if call.status else "no answer" if call.took is not None else "open"
    return f"{status} {one_line(call.error, 80)}" if call.error else status


def outcome_of(call: Call) -> str:
    """A call in a line: what was asked, what came back, how long it took, who asked."""
    agent = "" if call.agent == "test" else f" ({call.agent})"
    return f"{call_title(call)} → {result_of(call)}, {duration(call.took)}{agent}"


def one_line(text: str, longest: int) -> str:
    """A text's words on one line, shortened."""
    words = " ".join(text.split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def counted(timelines: Sequence[Timeline]) -> dict[str, int]:
    """How many tests came out how."""
    counts: dict[str, int] = {}
    for timeline in timelines:
        counts[timeline.outcome or "unfinished"] = (
            counts.get(timeline.outcome or "unfinished", 0) + 1
        )
    return counts
