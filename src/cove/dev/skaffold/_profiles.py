"""Profiles: which are active, and what they change.

Source: https://skaffold.dev/docs/environment/profiles/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cove.dev.errors import ConfigurationError
from cove.dev.lines import Fields, Tree, merged, patched

__all__ = ["with_profiles"]

_OWN = ("name", "activation", "patches", "requiresAllActivations")


def with_profiles(
    root: Tree,
    file: Path,
    wanted: Sequence[str],
    *,
    command: str,
    context: str,
    environ: Mapping[str, str],
) -> tuple[Tree, list[str]]:
    """The configuration with its active profiles in it, and their names.

    ``wanted`` are named ones, ``-NAME`` one that is not to be active.  Raises
    ConfigurationError for those that are not there.
    """
    profiles: dict[str, Tree] = {}
    top = Tree(dict(root.value), root.line, root.keys)
    listed = top.value.pop("profiles", None)
    active: list[str] = []
    off = {name[1:] for name in wanted if name.startswith("-")}
    for item in listed.value if listed is not None and listed.value else []:
        profile = Fields(item, file, "profiles")
        name = profile.text("name")
        if not name:
            raise profile.wrong(profile.line(), "a profile has no name")
        profiles[name] = item
        if name not in off and (name in wanted or _active(item, file, command, context, environ)):
            active.append(name)
    for name in [*wanted, *off]:
        if not name.startswith("-") and name not in profiles:
            known = ", ".join(profiles) or "none"
            raise ConfigurationError(f'{file}: there is no profile "{name}" (there are {known})')
    for name in active:
        top = _applied(top, profiles[name], file, name)
    return top, active


def _active(item: Tree, file: Path, command: str, context: str, environ: Mapping[str, str]) -> bool:
    profile = Fields(item, file, "profiles")
    every = profile.flag("requiresAllActivations")
    found: list[bool] = []
    for activation in profile.each("activation"):
        with activation:
            told = []
            if env := activation.text("env"):
                key, _, pattern = env.partition("=")
                told.append(_fits(pattern, environ.get(key, "")))
            if pattern := activation.text("kubeContext"):
                told.append(_fits(pattern, context))
            if pattern := activation.text("command"):
                told.append(_fits(pattern, command))
        # All of one activation have to be true.
        found.append(bool(told) and all(told))
    return bool(found) and (all(found) if every else any(found))


def _fits(pattern: str, value: str) -> bool:
    """A regular expression or a text; ``!`` turns it around."""
    if pattern.startswith("!"):
        return not _fits(pattern[1:], value)
    try:
        return value == pattern or re.search(pattern, value) is not None if pattern else not value
    except re.error:
        return value == pattern


def _applied(root: Tree, item: Tree, file: Path, name: str) -> Tree:
    over = Tree({k: v for k, v in item.value.items() if k not in _OWN}, item.line, item.keys)
    out = merged(root, over)
    profile = Fields(item, file, f"profiles[{name}]")
    for patch in profile.each("patches"):
        with patch:
            op, path = patch.text("op", "replace"), patch.text("path")
            value = patch.take("value")
        patched(out, op, path, value, f"{file}:{patch.line()}")
    return out
