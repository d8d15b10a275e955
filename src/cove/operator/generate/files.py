"""Files as generators give them, and how they get onto a disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

__all__ = ["File", "Format", "Written", "render", "text_of", "write"]

Doc = dict[str, Any]
Format = Literal["yaml", "json"]


@dataclass(frozen=True, slots=True)
class File:
    """Documents or a text at a path below wherever they go.

    The path of documents has no ending: that is the format's.  ``keep`` is for files that
    people change: one that is there is left alone.
    """

    path: str
    documents: tuple[Doc, ...] = ()
    text: str = ""
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a file."""

    path: Path
    state: Literal["written", "unchanged", "kept"]


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their keys, and nothing is an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", data, style="|" if "\n" in data else None
    )


_Dumper.add_representer(str, _text)


def text_of(documents: Iterable[Doc], format: Format) -> str:
    """Documents one after the other as YAML; as JSON, several are a ``List``."""
    docs = list(documents)
    if format == "json":
        whole = docs[0] if len(docs) == 1 else {"apiVersion": "v1", "kind": "List", "items": docs}
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    return "---\n".join(
        yaml.dump(doc, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        for doc in docs
    )


def render(file: File, format: Format) -> tuple[str, str]:
    """The path of a file and its text."""
    if not file.documents:
        return file.path, file.text
    return f"{file.path}.{format}", text_of(file.documents, format)


def write(files: Iterable[File], folder: Path, format: Format = "yaml") -> list[Written]:
    """Put files below a folder, which is made; files that are as they should be are not touched."""
    out = []
    for file in files:
        name, text = render(file, format)
        path = folder / name
        if path.exists():
            if path.read_text() == text:
                out.append(Written(path, "unchanged"))
                continue
            if file.keep:
                out.append(Written(path, "kept"))
                continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        out.append(Written(path, "written"))
    return out
