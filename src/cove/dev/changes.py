"""What a change means: files to copy, or an image to build.  Pure."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cove.dev import dockerfile
from cove.dev.files import Changes
from cove.dev.patterns import fits
from cove.dev.plan import Artifact

__all__ = ["Verdict", "judge"]


class Verdict(NamedTuple):
    """``copies`` (path there → file here, None for one that is gone), or why to build."""

    copies: dict[str, Path | None]
    build: str = ""


def judge(artifact: Artifact, changes: Changes, text: str) -> Verdict:
    """Whether all of a change can be copied; ``text`` is the Dockerfile's.

    One file that cannot means a build, which takes the others with it.
    """
    copied = dockerfile.copies(text, artifact.args, artifact.target) if artifact.infer else []
    out: dict[str, Path | None] = {}
    for path in changes.all:
        if any(fits(pattern, path) for pattern in artifact.rebuild_on):
            return Verdict({}, f"{path} means a build")
        there = _place(artifact, path, copied)
        if there is None:
            return Verdict({}, f"{path} is not synced" if artifact.syncs else path)
        out[there] = artifact.context / path if path in changes.changed else None
    return Verdict(out)


def _place(artifact: Artifact, path: str, copied: list[dockerfile.Copy]) -> str | None:
    for rule in artifact.sync:
        there = rule.place(path)
        if there is not None:
            return there
    if any(fits(pattern, path) for pattern in artifact.infer):
        return dockerfile.place(path, copied)
    return None
