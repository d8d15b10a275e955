"""What a handler says when it is done, and what it raises when it is not.

Returning nothing means done.  Any exception is tried again with growing delays; those here
say that it is not, or when.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from cove.kube.status import CoveError

__all__ = ["DONE", "Result", "Retry", "RetryError", "TerminalError", "requeue"]


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a reconcile: ``requeue_after`` seconds it is to be called again, None not.

    ``reason`` is for logs and metrics.
    """

    requeue_after: float | None = None
    reason: str = ""


DONE = Result()


def requeue(after: float | timedelta, reason: str = "") -> Result:
    """Call again after so many seconds, sooner if something changes; 0 is at once."""
    seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
    if seconds < 0:
        raise ValueError(f"requeue after {seconds} s: it is 0 or more")
    return Result(seconds, reason)


class TerminalError(CoveError):
    """Trying again is of no use: not before the object changes."""


class RetryError(CoveError):
    """Not yet: try again ``after`` seconds, without counting it as a failure."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How failures of a key are tried again: ``base`` · ``factor``ⁿ s up to ``limit``, plus jitter.

    ``jitter`` is at most so many seconds, evenly spread; ``attempts`` are failures in a row after
    which a key is given up until its object changes (None: never).  The counter of a key is
    its own, and starts anew with a success; fetching the object again does not touch it.
    """

    base: float = 1.0
    factor: float = 2.0
    limit: float = 300.0
    jitter: float = 1.0
    attempts: int | None = None

    def delay(self, failures: int, rng: random.Random) -> float | None:
        """Seconds to wait after so many failures in a row (from 1); None: give up."""
        if self.attempts is not None and failures > self.attempts:
            return None
        grown = min(self.base * self.factor ** min(failures - 1, 64), self.limit)
        return grown + rng.uniform(0.0, self.jitter)
