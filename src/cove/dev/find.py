"""Find: the plan of a file, whatever kind it is, or of the folder one is in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cove.dev.errors import ConfigurationError
from cove.dev.plan import Plan

__all__ = ["FILES", "plan_from"]

SKAFFOLD = ("skaffold.yaml", "skaffold.yml")
COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
# In the order they are looked for.
FILES = ("app.py", *SKAFFOLD, *COMPOSE)


def plan_from(
    file: str | None,
    *,
    cluster: str | None = None,
    profiles: Sequence[str] = (),
    command: str = "dev",
    context: str | None = None,
    folder: Path | None = None,
) -> Plan:
    """The plan that ``file`` (``FILE:VARIABLE`` for a Python one, a folder) declares.

    None looks for one of :data:`FILES` here.  ``profiles``, ``command`` and
    ``context`` are a skaffold.yaml's.  Raises ConfigurationError and AppError with file and line.
    """
    place = folder or Path.cwd()
    path = Path(file.partition(":")[0]) if file else place
    if path.is_dir():
        path = _in(path)
        file = str(path)
    assert file is not None
    if not path.is_file():
        raise ConfigurationError(f"there is no {path}: name the file that declares the loop")
    if path.suffix in (".yaml", ".yml"):
        text = path.read_text(errors="replace")
        if path.name in SKAFFOLD or "apiVersion: skaffold/" in text:
            from cove.dev.skaffold import read

            return read(path, profiles=profiles, command=command, context=context or "")
        if profiles:
            raise ConfigurationError(f"--profile is for a skaffold.yaml: {path} has none")
        from cove.dev.compose import read as read_compose

        return read_compose(path)
    if profiles:
        raise ConfigurationError(f"--profile is for a skaffold.yaml: {path} has none")
    from cove.dev.declared import plan_of
    from cove.host.load import load

    return plan_of(load(file), cluster=cluster, source=path.resolve())


def _in(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(
        f"{folder} has none of {', '.join(FILES)}: name a file with --file, or have one made of "
        "what is there by `cove dev init`"
    )
