r"""Values: from what was declared to the one mapping that Helm gets, as data.

Nothing here is ever text for Helm's own ``--set`` parser, so a key or value with commas,
braces, backslashes, dots or quotes means itself.  The one thing that is parsed is a key of
``set``, a path, by these rules alone:

====================  ==================================================
``a.b``               key ``b`` of the mapping ``a``
``a[0].b``            key ``b`` of the first item of the list ``a``
``a\.b`` ``a\[0\]``   one key: a backslash makes the next character plain
``a.b,c.d=evil``      keys ``a``, ``b,c``, ``d=evil``: one assignment
====================  ==================================================
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cove.host import _yaml
from cove.kube.status import CoveError

__all__ = ["ValuesError", "assign", "assignments", "exact", "merge", "merged", "parse_path"]

Values = dict[str, Any]
Path_ = tuple[str | int, ...]

# Helm's numbers are Go's float64: whole numbers are exact up to here.
LARGEST = 1 << 53
LARGEST_INDEX = 65536
DEEPEST = 200


class ValuesError(CoveError):
    """Values that Helm could not be given as they are; the text says which and what to do."""


def exact(value: Any, where: str, *, depth: int = 0) -> Any:
    """A copy of JSON's types alone; raises ValuesError for what would not arrive as it is."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        if abs(value) > LARGEST:
            raise ValuesError(
                f"{where} is {value}: Helm keeps numbers as floats, this one would arrive as "
                "another; write it as a text, in quotes"
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValuesError(f"{where} is {value}: values are finite numbers")
        return float(value)
    if depth > DEEPEST:
        raise ValuesError(f"{where[:80]}… is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        copy: Values = {}
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValuesError(f"{where} has the key {key!r}: keys are texts, quote it")
            _text(key, f"a key of {where}")
            copy[str(key)] = exact(inner, f"{where}.{key}", depth=depth + 1)
        return copy
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [exact(v, f"{where}[{i}]", depth=depth + 1) for i, v in enumerate(value)]
    if isinstance(value, os.PathLike):
        return _text(str(os.fspath(value)), where)
    raise ValuesError(
        f"{where} is a {type(value).__name__}: values are texts, numbers, booleans, None, "
        "lists and mappings"
    )


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValuesError(f"{where} is {value!r}: that is no Unicode text") from None
    return str(value)


def merge(base: Values, over: Mapping[str, Any]) -> Values:
    """As Helm merges values files: mappings deep, everything else is replaced, None kept.

    Source: https://helm.sh/docs/chart_template_guide/values_files/
    """
    out = dict(base)
    for key, value in over.items():
        known = out.get(key)
        if isinstance(value, Mapping) and isinstance(known, dict):
            out[key] = merge(known, value)
        else:
            out[key] = value
    return out


def parse_path(text: str) -> Path_:
    """The keys and indexes of a path, by the rules above; raises ValuesError."""

    def wrong(why: str) -> ValuesError:
        return ValuesError(
            f'set: "{text}" is no path: {why}; write a backslash before a dot, bracket or '
            "backslash that belongs to a key, or use values"
        )

    path: list[str | int] = []
    key: list[str] = []
    escaped = named = closed = False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if escaped:
            key.append(character)
            escaped, named = False, True
        elif closed and character not in ".[":
            raise wrong(f'"{character}" follows an index')
        elif character == "\\":
            escaped = True
        elif character == ".":
            if not (named or closed):
                raise wrong("a key is empty")
            if named:
                path.append("".join(key))
            key, named, closed = [], False, False
            if position == len(text):
                raise wrong("it ends with a dot")
        elif character == "[":
            if not (named or closed):
                raise wrong("an index follows no key")
            if named:
                path.append("".join(key))
            key, named = [], False
            digits, bracket, _ = text[position:].partition("]")
            if not bracket or not (digits.isascii() and digits.isdigit()):
                raise wrong("an index is a number in brackets")
            if int(digits) > LARGEST_INDEX:
                raise wrong(f"indexes are {LARGEST_INDEX} at most")
            path.append(int(digits))
            position += len(digits) + 1
            closed = True
        else:
            key.append(character)
            named = True
    if escaped:
        raise wrong("it ends with a backslash")
    if named:
        path.append("".join(key))
    if not path:
        raise wrong("it is empty")
    return tuple(path)


def assignments(given: Mapping[str, Any]) -> list[tuple[str, Path_, Any]]:
    """(as written, path, value) of every entry of ``set``; raises ValuesError."""
    found = []
    for text, value in given.items():
        if not isinstance(text, str):
            raise ValuesError(f"set has the key {text!r}: keys are paths, as texts")
        found.append((text, parse_path(text), exact(value, f'set "{text}"')))
    return found


def assign(values: Values, path: Path_, value: Any, told: str) -> None:
    """Put ``value`` at ``path``, making the mappings and list items on the way.

    ``values`` is changed.  Raises ValuesError where something else is in the way.
    """
    here: Any = values
    for position, step in enumerate(path):
        last = position == len(path) - 1
        if isinstance(step, int):
            if not isinstance(here, list):
                raise _in_the_way(told, path[:position], here, "a list")
            here.extend([None] * (step + 1 - len(here)))
            inside = here[step]
        else:
            if not isinstance(here, dict):
                raise _in_the_way(told, path[:position], here, "a mapping")
            inside = here.get(step)
        if last:
            inside = value
        elif inside is None:
            inside = [] if isinstance(path[position + 1], int) else {}
        here[step] = inside
        here = inside


def _in_the_way(told: str, path: Path_, found: Any, wanted: str) -> ValuesError:
    shown = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
    return ValuesError(f'set "{told}": {shown} is {found!r}, not {wanted}')


def merged(
    files: Iterable[str | os.PathLike[str]], values: Mapping[str, Any], given: Mapping[str, Any]
) -> Values:
    """All of a release's values: files in order, then ``values``, then what is ``set``.

    Raises ValuesError naming file and line.
    """
    out: Values = {}
    for file in files:
        out = merge(out, read(Path(file)))
    out = exact(merge(out, exact(values, "values")), "values")
    for text, path, value in assignments(given):
        assign(out, path, value, text)
    return out


def read(file: Path) -> Values:
    """The values of a file; raises ValuesError naming it, and the line."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValuesError(
            f"values file {file} is not there; it is read when the release starts: "
            "make it before, or correct the path"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise ValuesError(f"values file {file} cannot be read: {e}") from e
    for document in _yaml.split(text):
        # As Helm: what follows the first document is not read.
        try:
            doc, _ = _yaml.load(document.text, document.line)
        except _yaml.YamlError as e:
            raise ValuesError(f"values file {file}, line {e.line}: {e.problem}") from e
        if doc is None:
            return {}
        if not isinstance(doc, dict):
            raise ValuesError(
                f"values file {file}, line {document.line}: a mapping is expected, "
                f"this is a {type(doc).__name__}"
            )
        return exact(doc, f"values file {file}: values")  # type: ignore[no-any-return]
    return {}
