"""Patterns: which files are meant, and where in a container they belong.  Pure.

A pattern is relative to a build's context, with slashes: ``*`` and ``?`` stay inside of a
folder, ``**`` is any number of folders, ``[a-z]`` a character, ``{py,html}`` either.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache

from cove.dev.errors import ConfigurationError
from cove.host.context import expression

__all__ = ["SyncRule", "fits", "fixed_part"]

_WILD = re.compile(r"[*?\[{]")
_BRACES = re.compile(r"\{([^{}]*)\}")


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    alternatives = "|".join(expression(each) for each in _expanded(pattern))
    return re.compile(rf"(?:{alternatives})\Z")


def _expanded(pattern: str) -> list[str]:
    """A pattern without braces for each way to read those in it."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [text for each in found[1].split(",") for text in _expanded(before + each + after)]


def fits(pattern: str, path: str) -> bool:
    """Whether a path, relative and with slashes, is one that the pattern means.

    Raises ConfigurationError for what is no pattern.
    """
    try:
        return _compiled(posixpath.normpath(pattern)).match(path) is not None
    except re.error as e:
        raise ConfigurationError(f'"{pattern}" is no pattern: {e}') from e


def fixed_part(pattern: str) -> str:
    """The folders before the first wildcard, with a slash at the end; "" for none."""
    found = _WILD.search(pattern)
    before = pattern if found is None else pattern[: found.start()]
    return before[: before.rfind("/") + 1]


@dataclass(frozen=True, slots=True)
class SyncRule:
    """Files that fit ``pattern`` go to ``dest`` in the container.

    ``strip`` is what is taken off the front of their paths before they are put below
    ``dest``; None takes off the folders before the first wildcard.  A pattern without
    wildcards is one file, and ``dest`` its own path there unless that ends with a slash.
    """

    pattern: str
    dest: str
    strip: str | None = None

    def __post_init__(self) -> None:
        if not self.pattern.strip() or self.pattern.startswith(("/", "../")):
            raise ConfigurationError(
                f'sync pattern "{self.pattern}": it is relative to the build\'s context, such as '
                "src/**/*.py"
            )
        if not self.dest.startswith("/"):
            raise ConfigurationError(
                f'sync destination "{self.dest}" of {self.pattern}: it is an absolute path in the '
                "container, such as /app/src"
            )
        fits(self.pattern, "")

    def place(self, path: str) -> str | None:
        """Where a file of the context belongs in the container, None if it is not meant."""
        if not fits(self.pattern, path):
            return None
        if self.strip is None:
            if not _WILD.search(self.pattern):
                alone = not self.dest.endswith("/")
                return self.dest if alone else self.dest + posixpath.basename(path)
            rest = path.removeprefix(fixed_part(self.pattern))
        else:
            rest = path.removeprefix(self.strip)
        return posixpath.normpath(posixpath.join(self.dest, rest.lstrip("/")))
