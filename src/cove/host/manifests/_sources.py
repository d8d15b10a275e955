"""Sources: the documents of a file, a directory or a kustomization, and where each is.

All is read when it is asked for.  What can be seen without a server — YAML, kind, name,
the same object twice — is checked for all documents at once, before any is applied.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cove.host import _yaml
from cove.host.manifests import _kustomize as kustomize
from cove.host.manifests._errors import ManifestError
from cove.kube.catalogue.codec import not_text

__all__ = ["Document", "Mode", "Source", "read"]

Mode = Literal["file", "directory", "kustomization"]
SUFFIXES = (".yaml", ".yml")
# How many faults are told at once.
TOLD = 20


@dataclass(frozen=True, slots=True)
class Document:
    """One object: the ``number``-th of ``count`` documents of ``file``, from ``line`` on.

    ``item`` is its place in a List, from 1, 0 outside of one.
    """

    obj: dict[str, Any] = field(repr=False)
    file: str
    number: int
    count: int
    line: int
    item: int = 0

    @property
    def where(self) -> str:
        """``web.yaml, document 3 of 5 (line 40)``."""
        item = f", item {self.item}" if self.item else ""
        return f"{self.file}, document {self.number} of {self.count} (line {self.line}){item}"

    @property
    def kind(self) -> str:
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """What it says itself, "" for nothing."""
        return str(self.obj["metadata"].get("namespace") or "")

    def __str__(self) -> str:
        return f'{self.kind} "{self.name}"'


class Source(NamedTuple):
    """What was read, and what it was read as."""

    mode: Mode
    documents: list[Document]


class _Fault(NamedTuple):
    text: str
    document: Document | None = None


async def read(path: str | os.PathLike[str], *, kubectl: Path | None = None) -> Source:
    """The documents of a file, of a directory's files, or of what a kustomization builds.

    A directory gives its ``*.yaml`` and ``*.yml``, sorted by name and not those of folders
    below, unless it holds a kustomization, which may be named itself, too.  ``kubectl``
    None is the one beside this Python, else on the PATH.  Raises ManifestError, with all
    faults that can be seen here.
    """
    place = Path(path)
    mode, texts = await asyncio.to_thread(_open, place)
    if mode == "kustomization":
        texts = [(f"{place} (as built)", await kustomize.build(place, kubectl=kubectl))]
    documents: list[Document] = []
    faults: list[_Fault] = []
    for name, text in texts:
        for found in _parse(name, text):
            (documents if isinstance(found, Document) else faults).append(found)  # type: ignore[arg-type]
    faults += _twice(documents)
    if faults:
        raise _error(faults)
    if not documents:
        raise ManifestError(f"{place} holds no documents: there is nothing to apply")
    return Source(mode, documents)


def _open(place: Path) -> tuple[Mode, list[tuple[str, str]]]:
    if not place.exists():
        raise ManifestError(
            f"{place} is not there; it is looked up when the manifests are applied: "
            "make it before, or correct the path"
        )
    if kustomize.is_one(place):
        return "kustomization", []
    if not place.is_dir():
        return "file", [(str(place), _text(place))]
    files = sorted(
        (file for file in place.iterdir() if file.suffix in SUFFIXES and file.is_file()),
        key=lambda file: file.name,
    )
    if not files:
        raise ManifestError(
            f"{place} holds no *.yaml or *.yml and no kustomization.yaml (folders below it "
            "are not looked into)"
        )
    return "directory", [(str(file), _text(file)) for file in files]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ManifestError(f"{file} cannot be read: {e}") from e


def _parse(file: str, text: str) -> Iterator[Document | _Fault]:
    parts = list(_yaml.split(text))
    for number, part in enumerate(parts, 1):
        where = f"{file}, document {number} of {len(parts)}"
        try:
            doc, repeated = _yaml.load(part.text, part.line)
        except _yaml.YamlError as e:
            yield _Fault(f"{where}, line {e.line}: {e.problem}")
            continue
        yield from (_Fault(f"{where}: {problem}") for problem in repeated)
        if doc is None:
            continue
        documents = [Document(doc, file, number, len(parts), part.line)]
        if isinstance(doc, dict) and isinstance(doc.get("items"), list):
            if str(doc.get("kind", "")).endswith("List"):
                documents = [
                    Document(each, file, number, len(parts), part.line, item)
                    for item, each in enumerate(doc["items"], 1)
                ]
        for document in documents:
            problem = _wrong(document.obj)
            yield _Fault(f"{document.where}: {problem}", document) if problem else document


def _wrong(obj: Any) -> str:
    if not isinstance(obj, dict):
        return f"an object is expected, this is a {type(obj).__name__}"
    for key in ("apiVersion", "kind"):
        if not isinstance(obj.get(key), str) or not obj[key].strip():
            return f"{key} is missing"
    if obj["apiVersion"].count("/") > 1:
        return f'apiVersion "{obj["apiVersion"]}" is none: it is GROUP/VERSION or VERSION'
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return f"{obj['kind']}: metadata is missing"
    if metadata.get("generateName") and not metadata.get("name"):
        return f"{obj['kind']}: generateName cannot be applied: give it a metadata.name"
    for key in ("name", "namespace"):
        if not isinstance(metadata.get(key), str | None):
            return f"{obj['kind']}: metadata.{key} is {not_text(metadata[key])}"
    if not metadata.get("name"):
        return f"{obj['kind']}: metadata.name is missing"
    return ""


def _twice(documents: list[Document]) -> Iterator[_Fault]:
    known: dict[tuple[str, str, str, str], Document] = {}
    for document in documents:
        group = document.obj["apiVersion"].rpartition("/")[0]
        key = (group, document.kind, document.namespace, document.name)
        first = known.setdefault(key, document)
        if first is not document:
            yield _Fault(
                f"{document.where}: {document} is there already, in {first.where}", document
            )


def _error(faults: list[_Fault]) -> ManifestError:
    lines = [fault.text for fault in faults[:TOLD]]
    if len(faults) > TOLD:
        lines.append(f"… and {len(faults) - TOLD} more")
    return ManifestError("\n".join([*lines, "nothing was applied"]), document=faults[0].document)
