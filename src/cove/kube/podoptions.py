"""What a client asks of a container that runs, and what it uses, as plain values.

The API server reads them from a request, a node carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["ExecOptions", "LogOptions", "Usage"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """PodLogOptions (core/v1); None is what was not asked for.

    ``since`` is where ``sinceSeconds`` and ``sinceTime`` both end up.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecOptions:
    """PodExecOptions and PodAttachOptions (core/v1): which streams, and of a command its words.

    ``command`` () attaches to what the container runs.
    """

    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What something uses: ``cpu`` in nanocores over ``window`` seconds before ``time``,
    ``memory`` (working set) in bytes."""

    time: datetime
    window: float
    cpu: int
    memory: int
