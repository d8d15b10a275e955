"""The page: one HTML file with everything in it, for a browser without a network.

A table of the tests stands in the page; a test's timeline is JSON beside it, and read when it
is opened.  Nothing that was recorded ever becomes markup: the script sets texts, and the
page's policy lets no other script run and nothing be loaded.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import orjson

from cove.testing.report._facts import FAILED, duration, failing, one_line
from cove.testing.timeline import Call, Timeline
from cove.testing.words import origin

__all__ = ["Run", "render"]

# Of what tests failed by, and of what they touched: enough to be found by.
_FAILURE, _WORDS = 300, 200
# Characters of a timeline from which on it is packed.
_LONG = 20_000


@dataclass(frozen=True, slots=True)
class Run:
    """What is told of a whole run.  ``started`` in seconds since the epoch, ``took`` in seconds."""

    title: str = "Test report"
    engine: str = ""
    started: float = 0.0
    took: float = 0.0
    # More lines for the head: versions, the command, the commit.
    facts: dict[str, str] = field(default_factory=dict)


def render(timelines: Sequence[Timeline], run: Run | None = None) -> str:
    """The page of a run.  Failed tests come first in the list of failures, all in their order."""
    run = run or Run()
    style, script = _part("report.css"), _part("report.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    index = {
        "title": run.title,
        "engine": run.engine,
        "started": _clock(run.started),
        "took": run.took,
        "facts": run.facts,
        "tests": [_entry(timeline) for timeline in timelines],
    }
    parts = {
        "title": html.escape(run.title),
        "policy": html.escape(policy),
        "style": style,
        "script": script,
        "index": _embedded(index),
        "tests": "\n".join(_data(i, timeline) for i, timeline in enumerate(timelines)),
        "plain": "\n".join(_without_script(timelines)),
    }
    page = _part("report.html")
    # One pass: what a part holds is no place for another.
    pieces = page.split("@@")
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def _part(name: str) -> str:
    return (resources.files("cove.testing.report") / "page" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _embedded(value: Any) -> str:
    """JSON that ends no element and begins no comment, wherever it stands in a page."""
    return _escaped(_json(value))


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=_plain).decode()
    except (TypeError, ValueError):
        # Lone surrogates, integers beyond 64 bits.
        return json.dumps(value, default=_plain)


def _escaped(text: str) -> str:
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escape)
    return text


def _data(number: int, timeline: Timeline) -> str:
    """A timeline beside the page: readable if it is short, packed if not."""
    text = _json(timeline.to_json())
    kind = "application/json"
    if len(text) <= _LONG:
        text = _escaped(text)
    else:
        # The same objects come again and again: a tenth is left.
        text = base64.b64encode(gzip.compress(text.encode(), 3, mtime=0)).decode()
        kind = "application/gzip"
    return f'<script type="{kind}" id="data-{number}">{text}</script>'


def _plain(value: Any) -> Any:
    """What JSON has no form of: named tuples are lists, of the rest the text is told."""
    return list(value) if isinstance(value, tuple) else str(value)


def _entry(timeline: Timeline) -> dict[str, Any]:
    """What the list shows of a test, and finds it by."""
    calls, assertions = timeline.calls, timeline.assertions
    failed = failing(timeline)
    touched = dict.fromkeys(_touched(call) for call in calls if call.kind == "kube")
    entry: dict[str, Any] = {
        "name": timeline.name,
        "outcome": timeline.outcome or "unfinished",
        "took": timeline.took,
        "calls": len(calls),
        "assertions": len(assertions),
        "words": " ".join(list(touched)[:_WORDS]),
    }
    if timeline.outcome in FAILED:
        entry["failure"] = _headline(timeline)
        if failed is not None:
            entry["origin"] = origin(timeline, failed.call, failed.path)
    return entry


def _headline(timeline: Timeline) -> str:
    """The line of a failure that says most: pytest marks it with an E."""
    lines = timeline.failure.splitlines()
    marked = [line[1:] for line in lines if line.startswith("E ")]
    return one_line((marked or lines or [""])[0], _FAILURE)


def _touched(call: Call) -> str:
    return f"{call.resource}/{call.name}" if call.name else call.resource


def _without_script(timelines: Sequence[Timeline]) -> Iterator[str]:
    """What failed, for readers where scripts do not run (artifacts of some CI servers)."""
    counts: dict[str, int] = {}
    for timeline in timelines:
        counts[timeline.outcome or "unfinished"] = (
            counts.get(timeline.outcome or "unfinished", 0) + 1
        )
    yield f"<p>{html.escape(', '.join(f'{n} {what}' for what, n in counts.items()))}</p>"
    for timeline in timelines:
        if timeline.outcome in FAILED:
            failed = failing(timeline)
            whence = origin(timeline, failed.call, failed.path) if failed is not None else ""
            yield f"<h2>{html.escape(timeline.name)} ({duration(timeline.took)})</h2>"
            yield f"<p>{html.escape(whence)}</p><pre>{html.escape(timeline.failure)}</pre>"
