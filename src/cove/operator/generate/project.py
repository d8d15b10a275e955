"""``[tool.cove.operator]`` of a pyproject.toml: the defaults of commands and generators.

::

    [tool.cove.operator]
    module = "shop_operator:op"
    image = "registry.example.com/shop-operator:1.0"
    namespace = "shop"
    out = "deploy"
    format = "yaml"
    skip = ["helm"]
    prefix = "shop-"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from cove.kube.status import CoveError
from cove.operator.generate.files import Format
from cove.operator.generate.options import Options

__all__ = ["Project", "ProjectError"]

_OF_OPTIONS = {
    "module": str,
    "namespace": str,
    "image": str,
    "prefix": str,
    "replicas": int,
    "python": str,
}
_KEYS: dict[str, type] = {**_OF_OPTIONS, "out": str, "format": str, "skip": list}


class ProjectError(CoveError):
    """The table says something that makes no sense; ``file`` is the pyproject.toml."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: [tool.cove.operator]: {problem}")
        self.file = file
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Project:
    """What a project says; ``folder`` is the one of its pyproject.toml, or where one looked.

    ``out`` None prints.
    """

    folder: Path
    options: Options = field(default_factory=Options)
    out: Path | None = None
    format: Format = "yaml"
    skip: tuple[str, ...] = ()

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The project that a folder is in: the nearest pyproject.toml that has the table.

        Without one everything is as by default.  Raises ProjectError.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            file = folder / "pyproject.toml"
            if file.is_file():
                table = _table(file)
                if table is not None:
                    return cls._of(file, table)
        return cls(here)

    @classmethod
    def _of(cls, file: Path, table: dict[str, Any]) -> Project:
        for key, value in table.items():
            wanted = _KEYS.get(key)
            if wanted is None:
                raise ProjectError(file, f"{key} is unknown; there are: {', '.join(_KEYS)}")
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise ProjectError(file, f"{key} is to be a {wanted.__name__}, not {value!r}")
        if table.get("format", "yaml") not in get_args(Format):
            raise ProjectError(file, f"format {table['format']!r} is none of yaml, json")
        options = Options(**{key: table[key] for key in _OF_OPTIONS if key in table})
        out = file.parent / table["out"] if "out" in table else None
        skip = tuple(table.get("skip", ()))
        return cls(file.parent, options, out, table.get("format", "yaml"), skip)


def _table(file: Path) -> dict[str, Any] | None:
    try:
        whole = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ProjectError(file, str(e)) from e
    found: Any = whole
    for key in ("tool", "cove", "operator"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None
