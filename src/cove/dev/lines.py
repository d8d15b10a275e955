"""YAML with the line of everything in it, and a reader that leaves nothing unread.  Pure.

A field that nobody asked for is an error with its line: a misspelt one is not passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from cove.dev.errors import ConfigurationError
from cove.host import _yaml

__all__ = ["Fields", "Tree", "documents", "merged", "patched", "tree_of"]


@dataclass(slots=True)
class Tree:
    """A value and its line: ``value`` is a dict or list of trees, or a scalar."""

    value: Any
    line: int
    # The line of each key of a mapping.
    keys: dict[str, int] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: tree.plain() for key, tree in self.value.items()}
        if isinstance(self.value, list):
            return [tree.plain() for tree in self.value]
        return self.value


def documents(file: Path) -> list[Tree]:
    """The documents of a file; raises ConfigurationError with file and line."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigurationError(f"{file} cannot be read: {e}") from e
    out = []
    for part in _yaml.split(text):
        try:
            _, repeated = _yaml.load(part.text, part.line)
            node = yaml.compose(part.text, Loader=yaml.SafeLoader)
        except _yaml.YamlError as e:
            raise ConfigurationError(f"{file}:{e.line}: {e.problem}") from e
        if repeated:
            raise ConfigurationError(f"{file}: {repeated[0]}")
        if node is not None:
            out.append(_tree(node, part.line))
    return out


def _tree(node: yaml.Node, first: int) -> Tree:
    line = node.start_mark.line + first
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Tree] = {}
        keys: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in parts:
                    other = _tree(part, first)
                    values = {**other.value, **values}
                    keys = {**other.keys, **keys}
                continue
            values[str(key.value)] = _tree(value, first)
            keys[str(key.value)] = key.start_mark.line + first
        return Tree(values, line, keys)
    if isinstance(node, yaml.SequenceNode):
        return Tree([_tree(each, first) for each in node.value], line)
    return Tree(yaml.safe_load(yaml.serialize(node)), line)


def tree_of(value: Any, line: int) -> Tree:
    """A plain value as a tree, all of it on one line."""
    if isinstance(value, dict):
        keys = {str(key): line for key in value}
        return Tree({str(k): tree_of(v, line) for k, v in value.items()}, line, keys)
    if isinstance(value, list):
        return Tree([tree_of(each, line) for each in value], line)
    return Tree(value, line)


def merged(base: Tree, over: Tree) -> Tree:
    """``over`` laid over ``base``: mappings are merged, all else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    values = dict(base.value)
    for key, value in over.value.items():
        values[key] = merged(values[key], value) if key in values else value
    return Tree(values, base.line, {**base.keys, **over.keys})


def patched(root: Tree, op: str, path: str, value: Tree | None, where: str) -> None:
    """Apply one operation of a JSON Patch to a tree in place; raises ConfigurationError."""
    parts = [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]
    if not path.startswith("/") or not parts:
        raise ConfigurationError(
            f'{where}: the path "{path}" begins with a slash: /build/artifacts/0'
        )
    at = root
    for part in parts[:-1]:
        at = _child(at, part, path, where)
    last = parts[-1]
    if op == "test":
        if value is None or _child(at, last, path, where).plain() != value.plain():
            raise ConfigurationError(f"{where}: {path} is not what the patch tests for")
        return
    if op not in ("add", "replace", "remove"):
        raise ConfigurationError(f'{where}: op "{op}" is none of add, replace, remove, test')
    if op != "remove" and value is None:
        raise ConfigurationError(f"{where}: the patch of {path} has no value")
    if op != "add":
        _child(at, last, path, where)
    if isinstance(at.value, list):
        index = len(at.value) if last == "-" else int(last) if last.isdigit() else -1
        if not 0 <= index <= len(at.value):
            raise ConfigurationError(f"{where}: there is no {path}")
        if op != "add":
            del at.value[index]
        if value is not None and op != "remove":
            at.value.insert(index, value)
    elif isinstance(at.value, dict):
        at.value.pop(last, None)
        if value is not None and op != "remove":
            at.value[last], at.keys[last] = value, value.line
    else:
        raise ConfigurationError(f"{where}: there is no {path}")


def _child(at: Tree, part: str, path: str, where: str) -> Tree:
    found: Any = None
    if isinstance(at.value, dict):
        found = at.value.get(part)
    elif isinstance(at.value, list) and part.isdigit() and int(part) < len(at.value):
        found = at.value[int(part)]
    if not isinstance(found, Tree):
        raise ConfigurationError(f"{where}: there is no {path}")
    return found


class Fields:
    """A mapping that is read field by field: ``with Fields(tree, file, "build") as build``.

    Leaving it raises ConfigurationError for fields that were not asked for.  A tree that is
    no mapping (None is an empty one) raises one at once.
    """

    def __init__(self, tree: Tree, file: Path, path: str) -> None:
        self.file, self.path, self.tree = file, path, tree
        if tree.value is None:
            self._left: dict[str, Tree] = {}
        elif isinstance(tree.value, dict):
            self._left = dict(tree.value)
        else:
            raise self.wrong(tree.line, f"{path or 'it'} is to be a mapping")
        self._asked: list[str] = []

    def __enter__(self) -> Fields:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None or not self._left:
            return
        name = next(iter(self._left))
        close = get_close_matches(name, self._asked, 1)
        hint = f'is "{close[0]}" meant?' if close else f"known are {', '.join(sorted(self._asked))}"
        raise self.wrong(
            self.tree.keys.get(name, self.tree.line),
            f"{self._at(name)} is not a field that is known here: {hint}",
        )

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, line: int, text: str) -> ConfigurationError:
        """An error with file and line."""
        return ConfigurationError(f"{self.file}:{line}: {text}")

    def line(self, name: str = "") -> int:
        """The line of a field, or of the mapping."""
        return self.tree.keys.get(name, self.tree.line)

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return isinstance(self.tree.value, dict) and name in self.tree.value

    def take(self, name: str) -> Tree | None:
        """The tree of a field, None for one that is not there or null."""
        self._asked.append(name)
        found = self._left.pop(name, None)
        return None if found is None or found.value is None else found

    def text(self, name: str, default: str = "") -> str:
        """A text; numbers and booleans are taken as such."""
        found = self.take(name)
        if found is None:
            return default
        if isinstance(found.value, (dict, list)):
            raise self.wrong(found.line, f"{self._at(name)} is to be a text")
        if isinstance(found.value, bool):
            return str(found.value).lower()
        return str(found.value)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        found = self.take(name)
        if found is None:
            return default
        if not isinstance(found.value, bool):
            raise self.wrong(found.line, f"{self._at(name)} is to be true or false")
        return found.value

    def texts(self, name: str) -> list[str]:
        """A list of texts; one text is a list of one."""
        found = self.take(name)
        if found is None:
            return []
        items = found.value if isinstance(found.value, list) else [found]
        for item in items:
            if isinstance(item.value, (dict, list)):
                raise self.wrong(item.line, f"{self._at(name)} is to be a list of texts")
        return [str(item.value) for item in items]

    def pairs(self, name: str) -> dict[str, Tree]:
        """A mapping of whatever there is."""
        found = self.take(name)
        if found is None:
            return {}
        if not isinstance(found.value, dict):
            raise self.wrong(found.line, f"{self._at(name)} is to be a mapping")
        return found.value

    def fields(self, name: str) -> Fields | None:
        """A mapping to be read; None for one that is not there."""
        found = self.take(name)
        return None if found is None else Fields(found, self.file, self._at(name))

    def each(self, name: str) -> Iterator[Fields]:
        """The mappings of a list."""
        found = self.take(name)
        if found is None:
            return
        if not isinstance(found.value, list):
            raise self.wrong(found.line, f"{self._at(name)} is to be a list")
        for index, item in enumerate(found.value):
            yield Fields(item, self.file, f"{self._at(name)}[{index}]")

    def refuse(self, names: Sequence[str], why: str) -> None:
        """Fields that are known and that nothing is done for: an error with the line."""
        for name in names:
            if self.take(name) is not None:
                raise self.wrong(self.line(name), f"{self._at(name)}: {why}")

    def ignore(self, *names: str) -> list[str]:
        """Fields that make no difference here; which of them are there."""
        return [self._at(name) for name in names if self.take(name) is not None]
