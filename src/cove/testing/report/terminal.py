"""A failed test on one screen: by what it failed, where that came from, what happened before."""

from __future__ import annotations

from typing import Any

import yaml

from cove.testing.report._facts import (
    around,
    duration,
    failing,
    outcome_of,
    told_at_failure,
)
from cove.testing.timeline import Assertion, Call, Note, Timeline
from cove.testing.words import of_secret

__all__ = ["failure"]

HEIGHT, WIDTH = 24, 100
CALLS = 8
EXCERPT = 5


def failure(timeline: Timeline) -> list[str]:
    """At most 24 lines of at most 100 columns; none where nothing was recorded.

    ::

        expected status.phase == 'Running', but it is 'Pending'   test_shop.py:12
        from GET pods/web in default (+1.21 s)
            status:
              phase: Pending
        before:
          +0 µs    CREATE pods in default → 201, 4 ms
        pods:
          web  Pending  ImagePullBackOff
        kept: cove kubeconfig …
    """
    failed = failing(timeline)
    head = _assertion(timeline, failed) if failed is not None else []
    at = failed.at if failed is not None else timeline.now() + timeline.took
    calls = [
        call for call in around(timeline, at, CALLS + 1) if not failed or call.id != failed.call
    ]
    diagnosis = _diagnosis(told_at_failure(timeline))
    tail = [f"kept: {timeline.kept}"] if timeline.kept else []
    room = HEIGHT - len(head) - len(tail) - 1
    half = min(len(diagnosis), max(room // 2, room - len(calls[-CALLS:]) - 1))
    shown = calls[-CALLS:][-max(room - half - 1, 0) :] if room - half > 1 else []
    lines = [*head]
    if shown:
        lines.append("before it:" if failed is not None else "last calls:")
        lines += [f"  {'+' + duration(call.at):9} {outcome_of(call)}" for call in shown]
    lines += diagnosis[: HEIGHT - len(lines) - len(tail)]
    return [_fit(line) for line in [*lines, *tail]]


def _assertion(timeline: Timeline, failed: Assertion) -> list[str]:
    what = failed.path or "the answer"
    lines = [f"expected {what} {failed.operator} {failed.expected}", f"  but it is {failed.actual}"]
    joined = f"{lines[0]}, but it is {failed.actual}"
    if len(joined) <= WIDTH:
        lines = [joined]
    if failed.where:
        lines.append(f"  {failed.where}  {failed.source}")
    call = timeline.find(failed.call)
    if isinstance(call, Call):
        lines.append(f"from {outcome_of(call)}, at +{duration(call.at)}")
        lines += [f"    {line}" for line in _excerpt(call, failed.path)]
    return lines


def _excerpt(call: Call, path: str) -> list[str]:
    """What stands around the value in the answer: its siblings that are no documents."""
    if call.response is None or isinstance(call.response, str) or of_secret(call, path):
        return []
    steps = _steps(path)
    place: Any = call.response
    above: list[str] = []
    for step in steps[:-1]:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            break
        above.append(str(step))
    if not isinstance(place, dict):
        return []
    leaves = {k: v for k, v in place.items() if not isinstance(v, (dict, list))}
    last = steps[-1] if steps else None
    if last in place and last not in leaves:
        leaves = {str(last): place[last]}
    wanted = sorted(leaves, key=lambda key: key != last)[:EXCERPT]
    shown = {key: leaves[key] for key in place if key in wanted}
    if not shown:
        return []
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, default_flow_style=False)
    lines = text.splitlines()[:EXCERPT]
    return [f"{'.'.join(above)}:", *(f"  {line}" for line in lines)] if above else lines


def _steps(path: str) -> list[str | int]:
    """A dotted path taken apart again."""
    steps: list[str | int] = []
    rest = path
    while rest:
        if rest.startswith('["'):
            key, _, rest = rest[2:].partition('"]')
            steps.append(key)
        elif rest.startswith("["):
            index, _, rest = rest[1:].partition("]")
            steps.append(int(index))
        else:
            rest = rest.removeprefix(".")
            end = min((i for i in (rest.find("."), rest.find("[")) if i >= 0), default=len(rest))
            steps.append(rest[:end])
            rest = rest[end:]
    return steps


def _diagnosis(notes: list[Note]) -> list[str]:
    lines: list[str] = []
    for note in notes:
        said = [line for line in note.text.splitlines() if line.strip()]
        # The end of a log tells most, of the others the beginning.
        said = said[-3:] if note.kind == "pod-log" else said[:6]
        lines.append(f"{note.title}:" if said else note.title)
        lines += [f"  {line.strip()}" for line in said]
    return lines


def _fit(line: str) -> str:
    # What is recorded may hold anything, and a terminal obeys some of it.
    text = "".join(c if c.isprintable() else " " for c in line)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
