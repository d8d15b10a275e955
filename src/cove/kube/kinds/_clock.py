"""What time it is, for the few fields that the API server stamps itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from cove.kube.times import format_time

__all__ = ["now_text", "set_clock"]

_clock: Callable[[], datetime] | None = None


def set_clock(clock: Callable[[], datetime] | None) -> None:
    """Take the time from ``clock`` (aware, UTC); None: the machine's."""
    global _clock
    _clock = clock


def now_text() -> str:
    """Now, as documents hold times."""
    return format_time(_clock() if _clock is not None else datetime.now(UTC))
