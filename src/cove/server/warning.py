"""Warning headers: what a server has to say besides its answer.

Source: KEP-1693, and ``pkg/endpoints/filters/warning.go`` of k8s.io/apiserver, of which the
limits are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["warning_headers"]

# So many characters of all warnings are told whole; of longer ones so many of each.
TOTAL = 4 * 1024
EACH = 256
# No header can carry these: a text with one is not told at all.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def warning_headers(texts: Iterable[str]) -> list[tuple[str, str]]:
    """The headers for different texts, in their order."""
    fit = [text for text in texts if text and not _UNFIT.search(text)]
    if sum(map(len, fit)) > TOTAL:
        fit = list(_shortened(fit))
    return [("Warning", f"299 - {_quoted(text)}") for text in fit]


def _shortened(texts: list[str]) -> Iterable[str]:
    whole = written = 0
    for text in texts:
        if whole > TOTAL and written >= TOTAL:
            # Those before the limit was passed are all told, those after it while there is room.
            return
        whole += len(text)
        written += min(len(text), EACH)
        yield text[:EACH]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
