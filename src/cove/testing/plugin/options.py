"""Options of a test run, as the command line gave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """``engine`` None leaves it to declarations; ``report`` None writes none."""

    engine: str | None = None
    context: str | None = None
    keep: bool = False
    report: Path | None = None
