"""``${NAME:-default}`` in compose files, filled in from the environment.  Pure.

Source: https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cove.dev.errors import ConfigurationError
from cove.dev.lines import Tree

__all__ = ["dotenv", "filled"]

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<op>:?[-?+])(?P<arg>[^}]*))?\}"
    r"|(?P<plain>[A-Za-z_]\w*)|(?P<wrong>))"
)


def dotenv(text: str) -> dict[str, str]:
    """The variables of an env file: ``NAME=value`` lines, quotes taken off."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        bare = line.strip().removeprefix("export ")
        key, equals, value = bare.partition("=")
        if not bare or bare.startswith("#") or not equals:
            continue
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        found[key.strip()] = value
    return found


def filled(tree: Tree, environ: Mapping[str, str], file: Path) -> Tree:
    """The tree with its texts filled in; raises ConfigurationError with the line."""
    if isinstance(tree.value, dict):
        values = {key: filled(each, environ, file) for key, each in tree.value.items()}
        return Tree(values, tree.line, tree.keys)
    if isinstance(tree.value, list):
        return Tree([filled(each, environ, file) for each in tree.value], tree.line)
    if isinstance(tree.value, str) and "$" in tree.value:
        return Tree(_text(tree.value, environ, f"{file}:{tree.line}"), tree.line)
    return tree


def _text(text: str, environ: Mapping[str, str], where: str) -> str:
    def fill(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        name = found["braced"] or found["plain"]
        if not name:
            raise ConfigurationError(f'{where}: "{text}": a $ of its own is written $$')
        value = environ.get(name)
        op, arg = found["op"] or "", found["arg"] or ""
        there = bool(value) if op.startswith(":") else value is not None
        if op.endswith("-"):
            return value if there and value is not None else arg
        if op.endswith("+"):
            return arg if there else ""
        if op.endswith("?") and not there:
            raise ConfigurationError(f"{where}: {name} is not set: {arg or 'it is required'}")
        return value or ""

    return _VARIABLE.sub(fill, text)
