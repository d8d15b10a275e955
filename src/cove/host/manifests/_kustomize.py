"""Kustomize: kustomizations are built by the real one, out of kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cove.host import _program, _yaml
from cove.host.manifests._errors import ManifestError
from cove.node.child import program

__all__ = ["NAMES", "build", "folder_of", "folders", "is_one"]

# In the order kustomize looks for them.
NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def is_one(place: Path) -> bool:
    """Whether a path is a kustomization, or a directory that holds one."""
    if place.is_dir():
        return any((place / name).is_file() for name in NAMES)
    return place.name in NAMES


def folder_of(place: Path) -> Path:
    """The folder that kustomize is pointed to."""
    return place if place.is_dir() else place.parent


async def build(place: Path, *, kubectl: Path | None = None) -> str:
    """The documents that a kustomization builds; raises ManifestError with its reason."""
    found = str(kubectl) if kubectl is not None else program("kubectl", "kustomize")
    if found is None:
        raise ManifestError(
            f"{place} is a kustomization, and there is neither kubectl nor kustomize to build "
            "it: pip install 'cove[kubectl]', or put one on the PATH"
        )
    action = "build" if Path(found).name.startswith("kustomize") else "kustomize"
    try:
        # In its folder: what is relative in it is so to that.
        ended = await _program.run([found, action, "."], folder=folder_of(place))
    except _program.ProgramError as e:
        raise ManifestError(f"{place}: {e}") from e
    if ended.code != 0:
        said = ended.err.strip().removeprefix("error: ") or f"kustomize ended ({ended.code})"
        raise ManifestError(f"{place}: {said}\nnothing was applied")
    return ended.out.decode()


def folders(place: Path) -> set[Path]:
    """The local folders that a kustomization is built from: its own, and those it names."""
    found: set[Path] = set()
    _collect(folder_of(place).resolve(), found)
    return found


def _collect(folder: Path, found: set[Path]) -> None:
    if folder in found or not folder.is_dir():
        return
    found.add(folder)
    for entry in _entries(folder):
        path = (folder / entry).resolve()
        # A file may lie anywhere below; one elsewhere kustomize refuses.
        if "://" not in entry and path.is_dir():
            _collect(path, found)


def _entries(folder: Path) -> Iterator[str]:
    for name in NAMES:
        try:
            doc, _ = _yaml.load((folder / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(doc, dict):
            for key in ("resources", "bases", "components"):
                entries = doc.get(key)
                if isinstance(entries, list):
                    yield from (entry for entry in entries if isinstance(entry, str))
