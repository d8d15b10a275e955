"""The context of a build: which files of a folder, and what they come to.

``.dockerignore`` is read as Docker does: a pattern a line, ``**`` for any folders, ``!``
takes back, the last that fits decides.

Source: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from cove.kube.status import CoveError

__all__ = ["IgnoreError", "Ignored", "digest", "expression", "files"]


class IgnoreError(CoveError):
    """A line of a .dockerignore is no pattern."""


class Ignored:
    """What a ``.dockerignore`` leaves out; ``keep`` are paths that it cannot."""

    def __init__(self, lines: Sequence[str], keep: Sequence[str] = (), source: str = "") -> None:
        self._keep = frozenset(keep)
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            back = text.startswith("!")
            pattern = os.path.normpath(text[back:].strip()).strip("/")
            if not pattern or pattern == ".":
                if back:
                    raise IgnoreError(f'{source}:{number}: "{line}" names nothing')
                continue
            try:
                self._rules.append((re.compile(rf"{expression(pattern)}(?:/.*)?\Z"), back))
            except re.error as e:
                raise IgnoreError(f'{source}:{number}: "{line}" is no pattern: {e}') from e

    @classmethod
    def read(cls, folder: Path, dockerfile: str) -> Ignored:
        """``DOCKERFILE.dockerignore`` if there is one, else ``.dockerignore``."""
        for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
            path = folder / name
            if path.is_file():
                return cls(path.read_text().splitlines(), (dockerfile, name), str(path))
        return cls(())

    @property
    def takes_back(self) -> bool:
        """Whether something inside an ignored folder may be wanted after all."""
        return any(back for _, back in self._rules)

    def __call__(self, path: str) -> bool:
        """Whether a path, relative and with slashes, is left out."""
        if path in self._keep:
            return False
        out = False
        for pattern, back in self._rules:
            if pattern.match(path):
                out = not back
        return out


def expression(pattern: str) -> str:
    """A pattern as a regular expression for the path itself, without an end."""
    out, i = "", 0
    while i < len(pattern):
        char = pattern[i]
        if pattern.startswith("**/", i):
            out, i = f"{out}(?:.*/)?", i + 3
        elif pattern.startswith("**", i):
            out, i = f"{out}.*", i + 2
        elif char == "*":
            out, i = f"{out}[^/]*", i + 1
        elif char == "?":
            out, i = f"{out}[^/]", i + 1
        elif char == "[" and "]" in pattern[i + 2 :]:
            end = pattern.index("]", i + 2)
            inside = pattern[i + 1 : end].replace("\\", "\\\\")
            out, i = f"{out}[{inside}]", end + 1
        elif char == "\\" and i + 1 < len(pattern):
            out, i = out + re.escape(pattern[i + 1]), i + 2
        else:
            out, i = out + re.escape(char), i + 1
    return out


def files(folder: Path, ignored: Ignored) -> list[str]:
    """Files, links and empty folders of a folder that are not left out, sorted."""
    found: list[str] = []
    for root, names, leaves in os.walk(folder):
        place = Path(root).relative_to(folder)
        for name in [*leaves, *names]:
            path = (place / name).as_posix()
            if name in names and not (Path(root) / name).is_symlink():
                if ignored(path) and not ignored.takes_back:
                    names.remove(name)
                elif not ignored(path) and not any((Path(root) / name).iterdir()):
                    found.append(path)
            elif not ignored(path):
                found.append(path)
    return sorted(found)


def digest(folder: Path, paths: Sequence[str], more: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that differ when a file, its mode or ``more`` does."""
    whole = sha256(json.dumps(more, sort_keys=True).encode())
    for path in paths:
        file = folder / path
        info = file.lstat()
        whole.update(f"\0{path}\0{info.st_mode:o}\0".encode())
        if file.is_symlink():
            whole.update(os.readlink(file).encode())
        elif file.is_file():
            with open(file, "rb") as data:
                while piece := data.read(1 << 20):
                    whole.update(piece)
    return whole.hexdigest()[:12]
