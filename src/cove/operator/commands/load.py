"""Finding an operator: by the name of its module, in a file, or in a project."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from cove.kube.status import CoveError
from cove.operator.generate.project import Project
from cove.operator.operator import Operator

__all__ = ["LoadError", "find_operator"]


class LoadError(CoveError):
    """There is no operator where one was named."""


def find_operator(target: str | None, project: Project) -> Operator:
    """The operator of ``MODULE:NAME``, ``MODULE`` or ``FILE.py``; None is the project's.

    Without a name the module has one operator.  Modules are looked for in the project's folder,
    below its ``src``, and where Python looks.  Raises LoadError.
    """
    chosen = target or project.options.module
    if not chosen:
        raise LoadError(
            "which operator? Name MODULE:OPERATOR, or say it in pyproject.toml: "
            '[tool.cove.operator] module = "shop_operator:op"'
        )
    place, _, name = chosen.partition(":")
    folders = [project.folder, project.folder / "src"]
    if place.endswith(".py"):
        file = Path(place).resolve()
        if not file.is_file():
            raise LoadError(f"{place}: there is no such file")
        place, folders = file.stem, [file.parent]
    module = _import(place, folders, chosen)
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, Operator):
            raise LoadError(f"{chosen}: {place} has no operator {name!r}{_known(module)}")
        return found
    listed = {id(o): o for o in vars(module).values() if isinstance(o, Operator)}
    if len(listed) != 1:
        raise LoadError(f"{chosen}: {place} has {len(listed)} operators: name one{_known(module)}")
    return next(iter(listed.values()))


def _import(place: str, folders: list[Path], chosen: str) -> ModuleType:
    for folder in reversed(folders):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as e:
        # A module that it needs is another matter than the module itself.
        if e.name is None or not f"{place}.".startswith(f"{e.name}."):
            raise LoadError(f"{chosen}: {place} needs {e.name}, which is not installed") from e
        raise LoadError(
            f"{chosen}: there is no module {e.name}: looked in {', '.join(map(str, folders))} "
            "and where Python looks"
        ) from e


def _known(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Operator)]
    return f"; there are: {', '.join(names)}" if names else "; it has none"
