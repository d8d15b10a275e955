"""What schemathesis needs to know of an API server: watches do not end, and some 500s are upstream's.

Loaded by its command line through ``SCHEMATHESIS_HOOKS``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import schemathesis

sys.path.insert(0, str(Path(__file__).resolve().parent))

from upstream import UPSTREAM

__all__ = ["answered_in_words", "nothing_lasts"]


@schemathesis.hook("before_call")
def nothing_lasts(context: Any, case: Any, kwargs: Any) -> None:
    """Ask for lists instead: a watch of a made-up length is no answer that anybody waits for."""
    if case.query:
        for name in ("watch", "follow"):
            case.query.pop(name, None)


@schemathesis.check
def answered_in_words(ctx: Any, response: Any, case: Any) -> None:
    """No 500 that upstream would not give."""
    if response.status_code >= 500 and not any(word in response.text for word in UPSTREAM):
        raise AssertionError(f"{response.status_code}: {response.text[:1000]}")
