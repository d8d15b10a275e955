"""YAML as Kubernetes' tools read it, with the lines where things are; and YAML they read back.

Values resolve as in ``sigs.k8s.io/yaml``: YAML 1.1's booleans, no timestamps, keys are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from cove.kube.catalogue.codec import yaml_loader

__all__ = ["Text", "YamlError", "dump", "load", "split"]


class YamlError(ValueError):
    """A text that is no YAML: what is wrong, and in which line (from 1)."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(f"line {line}: {problem}")
        self.problem = problem
        self.line = line


class Text(NamedTuple):
    """One document's text and the line (from 1) of the file that it begins in."""

    text: str
    line: int


_MARKER = re.compile(r"---(?=\s|$)")


def split(text: str) -> Iterator[Text]:
    """The documents of a stream; those of nothing but comments are left out.

    A line that begins with ``---`` ends a document, inside of texts too: YAML has no other
    reading of it.
    """
    lines: list[str] = []
    begun = 1
    for number, line in enumerate(_lines(text.removeprefix("\ufeff")), 1):
        marker = _MARKER.match(line)
        if marker is None:
            lines.append(line)
            continue
        yield from _document(lines, begun)
        lines, begun = [line[marker.end() :]], number
    yield from _document(lines, begun)


def _lines(text: str) -> list[str]:
    # str.splitlines knows more ends of lines than files have lines.
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _document(lines: list[str], begun: int) -> Iterator[Text]:
    for index, line in enumerate(lines):
        bare = line.strip()
        if bare and not bare.startswith(("#", "%")) and bare != "...":
            yield Text("".join(lines[index:]), begun + index)
            return


def load(text: str, first_line: int = 1) -> tuple[Any, list[str]]:
    """The document of a text, and the keys that it has twice (the last one counts).

    Raises :class:`YamlError`; lines are counted from ``first_line``.
    """
    import yaml

    try:
        loader = yaml_loader()(text)
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + first_line
        raise YamlError(f"{e.reason}: U+{e.character:04X}", line) from None
    loader.repeated = []
    try:
        doc = loader.get_data() if loader.check_data() else None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        # What is missing at the end is told where the text ends.
        line = min(mark.line, text.rstrip().count("\n")) if mark is not None else 0
        raise YamlError(e.problem or e.context or "is no YAML", first_line + line) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        raise YamlError(str(e) or type(e).__name__, first_line) from None
    finally:
        loader.dispose()
    return doc, [_moved(problem, first_line - 1) for problem in loader.repeated]


def _moved(problem: str, lines: int) -> str:
    return re.sub(r"^line (\d+)", lambda found: f"line {int(found[1]) + lines}", problem, count=1)


# What is a text for every reader of YAML, quoted or not.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes every text that some reader might take for something else."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    readers = (yaml_loader().yaml_implicit_resolvers, yaml.SafeDumper.yaml_implicit_resolvers)

    def text(dumper: Any, value: str) -> Any:
        plain = _PLAIN.fullmatch(value) is not None and not any(
            pattern.match(value)
            for resolvers in readers
            for _, pattern in resolvers.get(value[0], ())
        )
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    Dumper.add_representer(str, text)
    return Dumper


def dump(document: Any) -> str:
    """A document of JSON's types as YAML that Helm and kubectl read back as it was."""
    import yaml

    return str(
        yaml.dump(
            document,
            Dumper=_dumper(),
            default_flow_style=False,
            allow_unicode=True,
            sort_keys=False,
            width=1 << 30,
        )
    )
