"""Dockerfiles, as far as one has to read them to know where files end up.  Pure.

Source: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["Copy", "bases", "copies", "place"]

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")


class Copy(NamedTuple):
    """``COPY sources dest`` of the last stage; ``dest`` is absolute, with its slash."""

    sources: tuple[str, ...]
    dest: str


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """(name, rest) of each instruction, continued lines put together."""
    pending = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("#") or (not bare and not pending):
            continue
        if bare.endswith("\\"):
            pending += bare[:-1] + " "
            continue
        name, _, rest = (pending + bare).partition(" ")
        pending = ""
        yield name.upper(), rest.strip()


def _filled(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda m: known.get(m[1] or m[3], m[2] or ""), text)


def bases(text: str, args: Mapping[str, str]) -> list[str]:
    """The images that a Dockerfile starts from; stages of its own left out."""
    known = dict(args)
    stages: set[str] = set()
    found: list[str] = []
    for name, rest in _instructions(text):
        if name == "ARG" and not found:
            key, _, default = rest.partition("=")
            known.setdefault(key, default)
        elif name == "FROM":
            words = [w for w in rest.split() if not w.startswith("--")]
            if not words:
                continue
            image = _filled(words[0], known)
            if image not in stages and image != "scratch":
                found.append(image)
            if len(words) == 3 and words[1].upper() == "AS":
                stages.add(words[2])
    return found


def copies(text: str, args: Mapping[str, str], target: str = "") -> list[Copy]:
    """What the stage ``target`` ("" is the last) copies from the context, in its order."""
    known: dict[str, str] = dict(args)
    workdir = "/"
    found: list[Copy] = []
    stages: dict[str, list[Copy]] = {}
    workdirs: dict[str, str] = {}
    stage = ""
    for name, rest in _instructions(text):
        if name == "FROM":
            if target and stage == target:
                break
            words = [w for w in rest.split() if not w.startswith("--")]
            base = words[0] if words else ""
            stage = words[2] if len(words) == 3 else ""
            # A stage that begins with another one has what that one has.
            found, workdir = list(stages.get(base, ())), workdirs.get(base, "/")
            if stage:
                stages[stage] = found
                workdirs[stage] = workdir
        elif name in ("ARG", "ENV"):
            for word in shlex.split(rest) if "=" in rest else [rest.replace(" ", "=", 1)]:
                key, _, value = word.partition("=")
                if name == "ENV" or key not in known:
                    known[key] = _filled(value, known)
        elif name == "WORKDIR":
            workdir = posixpath.normpath(posixpath.join(workdir, _filled(rest, known)))
            if stage:
                workdirs[stage] = workdir
        elif name in ("COPY", "ADD"):
            copy = _copy(rest, workdir, known)
            if copy is not None:
                found.append(copy)
    return found


def _copy(rest: str, workdir: str, known: Mapping[str, str]) -> Copy | None:
    if rest.startswith("["):
        words = [str(w) for w in json.loads(rest)]
    else:
        words = shlex.split(rest)
    if any(w.startswith("--from") for w in words):
        return None
    words = [_filled(w, known) for w in words if not w.startswith("--")]
    if len(words) < 2:
        return None
    *sources, dest = words
    slash = "/" if dest.endswith("/") or dest in (".", "./") or len(sources) > 1 else ""
    dest = posixpath.normpath(posixpath.join(workdir, dest))
    return Copy(tuple(posixpath.normpath(s).lstrip("/") for s in sources), dest.rstrip("/") + slash)


def place(path: str, found: list[Copy]) -> str | None:
    """Where a file of the context is in the image, None if it is not copied there."""
    from cove.dev.patterns import fits

    for copy in reversed(found):
        for source in copy.sources:
            if source == ".":
                return posixpath.join(copy.dest.rstrip("/") or "/", path)
            if path == source:
                last = posixpath.basename(path)
                return copy.dest + last if copy.dest.endswith("/") else copy.dest
            if path.startswith(f"{source}/"):
                rest = path.removeprefix(f"{source}/")
                return posixpath.join(copy.dest.rstrip("/") or "/", rest)
            if any(c in source for c in "*?[") and fits(source, path):
                return posixpath.join(copy.dest.rstrip("/") or "/", posixpath.basename(path))
    return None
