"""Init: a Python file proposed for a repository, by looking at what it has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cove.dev import dockerfile
from cove.dev.errors import ConfigurationError
from cove.dev.find import COMPOSE, SKAFFOLD

__all__ = ["Proposal", "propose"]

# Folders that are not looked into, and how deep one looks.
_NOT = frozenset(("node_modules", "vendor", "dist", "build", "target", "venv", "testdata"))
DEPTH = 5
_KUSTOMIZE = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_SOURCES = (".py", ".js", ".ts", ".rb", ".php", ".html", ".css", ".lua", ".pl")


@dataclass(slots=True)
class Proposal:
    """The text of a file, and what a person should look at."""

    text: str
    remarks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    dockerfiles: list[Path] = field(default_factory=list)
    charts: list[Path] = field(default_factory=list)
    kustomizations: list[Path] = field(default_factory=list)
    manifests: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def propose(folder: Path) -> Proposal:
    """An ``app.py`` for a repository; raises ConfigurationError if nothing is found there."""
    root = folder.resolve()
    if not root.is_dir():
        raise ConfigurationError(f"{folder} is no folder")
    found = _look(root)
    if not (found.dockerfiles or found.charts or found.kustomizations or found.manifests):
        if found.others:
            name = found.others[0].relative_to(root)
            raise ConfigurationError(
                f"{folder} has {name}, which `cove dev watch -f {name}` reads as it is, and nothing "
                "else to make a file of"
            )
        raise ConfigurationError(
            f"{folder} has no Dockerfile, chart, kustomization, manifest, compose file or "
            "skaffold.yaml: there is nothing to propose"
        )
    return _Writer(root, found).write()


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    for place, folders, names in os.walk(root):
        here = Path(place)
        depth = len(here.relative_to(root).parts)
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and f not in _NOT and depth < DEPTH
        )
        yield here, sorted(names)
        if "Chart.yaml" in names:
            folders.clear()  # what is in a chart is its own


def _look(root: Path) -> _Found:
    found = _Found()
    bases: set[Path] = set()
    for here, names in _walk(root):
        found.dockerfiles += [here / n for n in names if _is_dockerfile(n)]
        found.others += [here / n for n in names if n in SKAFFOLD or n in COMPOSE]
        if "Chart.yaml" in names:
            found.charts.append(here)
            continue
        kustomization = next((n for n in _KUSTOMIZE if n in names), None)
        if kustomization is not None:
            found.kustomizations.append(here)
            bases |= set(_bases(here, kustomization))
            continue
        if any(here.is_relative_to(k) for k in found.kustomizations):
            continue
        documents = [here / n for n in names if _is_manifest(here / n)]
        if documents:
            found.manifests.append(here if len(documents) > 1 else documents[0])
    # What others are built on is not deployed by itself; of several overlays one is chosen.
    found.kustomizations = [k for k in found.kustomizations if k not in bases]
    found.manifests = [m for m in found.manifests if m not in bases and m.parent not in bases]
    return found


def _is_dockerfile(name: str) -> bool:
    return (
        name in ("Dockerfile", "Containerfile")
        or name.startswith("Dockerfile.")
        or name.endswith(".Dockerfile")
    ) and not name.endswith(".dockerignore")


def _load(file: Path) -> list[Any]:
    try:
        return [doc for doc in yaml.safe_load_all(file.read_text()) if doc]
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []


def _is_manifest(file: Path) -> bool:
    if file.suffix not in (".yaml", ".yml") or file.name in (*SKAFFOLD, *COMPOSE):
        return False
    documents = _load(file)
    return bool(documents) and all(
        isinstance(d, dict) and d.get("apiVersion") and d.get("kind") and d.get("metadata")
        for d in documents
    )


def _bases(here: Path, name: str) -> Iterator[Path]:
    for doc in _load(here / name):
        for key in ("resources", "bases", "components"):
            for entry in doc.get(key) or () if isinstance(doc, dict) else ():
                yield (here / str(entry)).resolve()


class _Writer:
    """The file, line by line."""

    def __init__(self, root: Path, found: _Found) -> None:
        self.root, self.found = root, found
        self.remarks: list[str] = []
        self._images: dict[str, Path] = {}
        self._taken: set[str] = {"k8s"}

    def write(self) -> Proposal:
        """All of it."""
        name = _name(self.root.name) or "app"
        lines = [
            '"""Proposed by `cove dev init`: look at it, then `cove dev watch`."""',
            "",
            "import cove",
            "",
            f'app = cove.App("{name}")',
            'k8s = app.cluster("k8s")',
        ]
        for file in self.found.dockerfiles:
            lines += ["", *self._image(file)]
        for chart in self.found.charts:
            lines += ["", *self._chart(chart)]
        for place in self._chosen():
            lines += ["", *self._manifests(place)]
        services = list(self._services())
        if services:
            lines.append("")
        for service, port, deployment in services:
            lines.append(
                f'k8s.endpoint("{self._fresh(f"{service}-{port}")}", service="{service}", port={port!r})'
                f'.after("{deployment}")'
            )
        for other in self.found.others:
            self.remarks.append(
                f"{other.relative_to(self.root)} can be used as it is: "
                f"`cove dev watch -f {other.relative_to(self.root)}`"
            )
        return Proposal("\n".join(lines) + "\n", self.remarks)

    def _fresh(self, name: str) -> str:
        names = (name if i == 1 else f"{name}-{i}" for i in range(1, 99))
        found = next(each for each in names if each not in self._taken)
        self._taken.add(found)
        return found

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() or "."

    def _image(self, file: Path) -> Iterator[str]:
        context = file.parent
        text = file.read_text(errors="replace")
        copied = dockerfile.copies(text, {})
        if any(not (context / s).exists() for c in copied for s in c.sources if not _wild(s)):
            # It names files that are beside the repository's other files, not beside itself.
            context = self.root
        suffix = file.name.removeprefix("Dockerfile").removesuffix(".Dockerfile").strip(".")
        if context == self.root and not (context / ".dockerignore").exists():
            self.remarks.append(
                "there is no .dockerignore: every file of the repository, this one and manifests too, "
                "is part of the image, and a change of it means a build"
            )
        own = context.name if context != self.root else file.parent.name
        name = self._fresh(_name(suffix or own) or "app")
        self._images[name] = context
        options = []
        inside = file.relative_to(context).as_posix()
        if inside != "Dockerfile":
            options.append(f'dockerfile="{inside}"')
        rules = list(_sync(context, copied))
        if rules:
            told = ", ".join(f'("{p}", "{d}")' for p, d in rules)
            options.append(f"sync=[{told}]")
            self.remarks.append(
                f"{name}: {', '.join(p for p, _ in rules)} would be copied into running pods: leave "
                "sync out if the program does not load changed files by itself"
            )
        more = "".join(f", {option}" for option in options)
        yield f'app.image("{name}", "{self._relative(context)}"{more})'

    def _chart(self, chart: Path) -> Iterator[str]:
        docs = _load(chart / "Chart.yaml")
        name = str(docs[0].get("name", chart.name)) if docs else chart.name
        values = _load(chart / "values.yaml")
        images = dict(_value_images(values[0] if values else {}, self._images))
        files = sorted(chart.parent.glob("values*dev*.yaml"))
        files += sorted(chart.glob("values*dev*.yaml"))
        options = ""
        if files:
            options += f", values_files=[{', '.join(_quoted(self._relative(f)) for f in files)}]"
        if images:
            options += f", images={images!r}".replace("'", '"')
        elif self._images:
            self.remarks.append(
                f"chart {name}: no value of it names an image that is built here: say which with "
                'images={"path.of.the.value": "IMAGE"}'
            )
        yield f'k8s.helm("{self._fresh(_name(name))}", chart="{self._relative(chart)}"{options})'

    def _chosen(self) -> list[Path]:
        overlays = self.found.kustomizations
        dev = [k for k in overlays if re.search(r"dev|local", k.name)]
        chosen = dev[:1] or overlays[:1]
        for other in overlays:
            if other not in chosen:
                self.remarks.append(f"{self._relative(other)} is another overlay: left out")
        return [*chosen, *self.found.manifests]

    def _manifests(self, place: Path) -> Iterator[str]:
        base = place.stem if place.is_file() else place.name
        name = self._fresh(_name(base) or "manifests")
        images: dict[str, str] = {}
        for file in [place] if place.is_file() else sorted(place.rglob("*.y*ml")):
            for image in _container_images(_load(file)):
                short = re.split(r"[:@]", image.rpartition("/")[2])[0]
                artifact = _match(short, self._images)
                if artifact and image != artifact:
                    images[re.split(r"@|:(?=[^/]*$)", image)[0]] = artifact
        more = f", images={images!r}".replace("'", '"') if images else ""
        yield f'k8s.manifests("{name}", "{self._relative(place)}"{more})'

    def _services(self) -> Iterator[tuple[str, Any, str]]:
        """Services that lead to somewhere, of manifests."""
        for place in self.found.manifests:
            deployment = _name(place.stem if place.is_file() else place.name)
            for file in [place] if place.is_file() else sorted(place.glob("*.y*ml")):
                for doc in _load(file):
                    if doc.get("kind") == "Service" and (doc.get("spec") or {}).get("ports"):
                        port = doc["spec"]["ports"][0]
                        yield str(doc["metadata"]["name"]), port.get("port"), deployment


def _wild(source: str) -> bool:
    return any(c in source for c in "*?[$")


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def _quoted(text: str) -> str:
    return f'"{text}"'


def _match(short: str, images: dict[str, Path]) -> str:
    """The image that is meant by the last part of a name."""
    short = _name(short)
    if short in images:
        return short
    if len(images) == 1 and any(short in part or part in short for part in images):
        return next(iter(images))
    return ""


def _sync(context: Path, copied: list[dockerfile.Copy]) -> Iterator[tuple[str, str]]:
    """Folders of interpreted sources that a Dockerfile copies."""
    for copy in copied:
        for source in copy.sources:
            folder = context / source
            if source == "." or not folder.is_dir():
                continue
            kinds = {p.suffix for p in folder.rglob("*") if p.is_file()} & set(_SOURCES)
            for kind in sorted(kinds):
                yield f"{source}/**/*{kind}", copy.dest.rstrip("/") or "/"


def _value_images(values: Any, images: dict[str, Path], at: str = "") -> Iterator[tuple[str, str]]:
    """Values that name an image: paths and artifacts."""
    for key, value in values.items() if isinstance(values, dict) else ():
        path = f"{at}.{key}" if at else str(key)
        repository = value.get("repository") if isinstance(value, dict) else None
        text = repository or (value if str(key).lower().endswith("image") else None)
        if isinstance(text, str) and text:
            short = re.split(r"[:@]", text.rpartition("/")[2])[0]
            artifact = _match(short, images) or _match(_name(at.rpartition(".")[2]), images)
            if artifact:
                yield path, artifact
                continue
        if isinstance(value, dict):
            yield from _value_images(value, images, path)


def _container_images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("containers", "initContainers") and isinstance(each, list):
                yield from (str(c["image"]) for c in each if isinstance(c, dict) and c.get("image"))
            else:
                yield from _container_images(each)
    elif isinstance(value, list):
        for each in value:
            yield from _container_images(each)
