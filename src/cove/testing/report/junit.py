"""JUnit: what a test did, as properties and output of its test case.

For ``user_properties`` and report sections of pytest, which writes both into ``--junitxml``.
"""

from __future__ import annotations

import re

from cove.testing.report._facts import (
    around,
    duration,
    failing,
    one_line,
    outcome_of,
    told_at_failure,
)
from cove.testing.timeline import Timeline
from cove.testing.words import origin

__all__ = ["properties", "system_out"]

LAST = 10
# What XML 1.0 has no place for.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def properties(timeline: Timeline) -> list[tuple[str, str]]:
    """Names and values: how much was asked and compared, and by what the test failed."""
    calls, assertions = timeline.calls, timeline.assertions
    found = [("cove.calls", str(len(calls))), ("cove.assertions", str(len(assertions)))]
    others = sorted({call.agent for call in calls} - {"test"})
    if others:
        found.append(("cove.agents", ", ".join(others)))
    failed = failing(timeline)
    if failed is not None:
        said = f"{failed.path or 'the answer'} {failed.operator} {failed.expected}"
        found.append(("cove.failed", said))
        found.append(("cove.actual", failed.actual))
        if whence := origin(timeline, failed.call, failed.path):
            found.append(("cove.failed.call", whence))
        if failed.where:
            found.append(("cove.failed.where", failed.where))
    if timeline.kept:
        found.append(("cove.kept", timeline.kept))
    return [(name, _clean(value)) for name, value in found]


def system_out(timeline: Timeline) -> str:
    """What to read of a test without the page: its last calls, and the cluster at a failure.

    "" where nothing was asked.
    """
    calls = timeline.calls
    lines = []
    if calls:
        shown = around(timeline, calls[-1].at, LAST)
        which = f"last {len(shown)} of {len(calls)} calls" if len(shown) < len(calls) else "calls"
        lines.append(f"{which}:")
        lines += [f"  +{duration(call.at)}  {outcome_of(call)}" for call in shown]
    for note in told_at_failure(timeline):
        lines.append(f"{note.title}:")
        lines += [f"  {one_line(line, 200)}" for line in note.text.splitlines()[-LAST:]]
    return _clean("\n".join(lines))


def _clean(text: str) -> str:
    return _CONTROL.sub("�", text)
