"""State: what a loop has made, so that `cove dev down` finds it after a crash, too.

::

    $COVE_HOME/dev/NAME/      0700
        state.json            cluster, engine, context, what was deployed
        watch.lock, run.lock  held by the process that watches, or runs programs
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cove.dev.deploy import Thing
from cove.dev.errors import DevRunsError
from cove.engines.home import home
from cove.engines.variants import publish

__all__ = ["Facts", "State", "states"]


@dataclass(slots=True)
class Facts:
    """What is written down.  ``releases`` are (name, namespace), ``things`` objects."""

    cluster: str = ""
    engine: str = ""
    context: str = ""
    container_engine: str = ""
    root: str = ""
    releases: list[tuple[str, str]] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)


class State:
    """The folder of one loop, by the name of its cluster."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        self.name = name
        self.path = (root or home()) / "dev" / name

    @property
    def exists(self) -> bool:
        """Whether a loop of that name was ever begun, and not ended by `down`."""
        return (self.path / "state.json").is_file()

    @property
    def kubeconfig(self) -> Path:
        """That of a cluster that exists: its context as it was, as long as the loop is known."""
        return self.path / "kubeconfig.yaml"

    def read(self) -> Facts:
        """What was written last; empty if nothing was, or it is no longer readable."""
        try:
            doc: dict[str, Any] = json.loads((self.path / "state.json").read_text())
            doc["releases"] = [(str(a), str(b)) for a, b in doc["releases"]]
            doc["things"] = [Thing(*each) for each in doc["things"]]
            return Facts(**doc)
        except (OSError, ValueError, TypeError, KeyError):
            return Facts()

    def write(self, facts: Facts) -> None:
        """Replace it, whole."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        publish(self.path / "state.json", json.dumps(asdict(facts), indent=1) + "\n")

    @contextmanager
    def taken(self, what: str) -> Iterator[None]:
        """Hold ``watch`` or ``run`` for this process; raises DevRunsError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self.path / f"{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DevRunsError(
                    f"`cove dev {what}` is at work on {self.name} already (pid {self.pid(what)}): "
                    "end it there, or `cove dev down` ends it with everything else"
                ) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            yield
        finally:
            os.close(descriptor)

    def pid(self, what: str) -> int:
        """Who holds it, or held it last; 0 for nobody."""
        try:
            return int((self.path / f"{what}.lock").read_text() or 0)
        except (OSError, ValueError):
            return 0

    def held(self, what: str) -> bool:
        """Whether a process is at it."""
        try:
            descriptor = os.open(self.path / f"{what}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def released(self, what: str) -> None:
        """Return when nobody is at it any more.  Blocks."""
        try:
            descriptor = os.open(self.path / f"{what}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    @property
    def session(self) -> str:
        """What marks the programs that `cove dev run` has started."""
        return str(self.path.resolve())

    def remove(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.path, ignore_errors=True)


def states(root: Path | None = None) -> list[State]:
    """Every loop that was not ended by `down`, by name."""
    base = (root or home()) / "dev"
    if not base.is_dir():
        return []
    return [s for s in (State(e.name, root) for e in sorted(base.iterdir())) if s.exists]
