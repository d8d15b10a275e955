"""Where an application that runs keeps what others need to find it: ``$COVE_HOME/apps/NAME``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.engines.home import HomeError, home
from cove.host.errors import AppError

if TYPE_CHECKING:
    from cove.host.app import App

__all__ = ["AppFolder", "AppRunsError", "apps"]


class AppRunsError(AppError):
    """The application is being run by another process."""


class AppFolder:
    """The folder of one application, readable by its user alone."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        self.name = name
        self.path = (root or home()) / "apps" / name

    @property
    def logs(self) -> Path:
        """A file for each resource."""
        return self.path / "logs"

    def log_names(self) -> list[str]:
        """The resources that files have lines of."""
        return sorted(path.stem for path in self.logs.glob("*.log"))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the folder for this process; raises AppRunsError, HomeError."""
        try:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as e:
            raise HomeError(
                f"the folder {self.path} cannot be made: {e.strerror}; set COVE_HOME to a folder "
                "that can be written"
            ) from e
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = self.facts().get("pid", "unknown")
                raise AppRunsError(
                    f'"{self.name}" runs already (pid {pid}): `cove status` shows it, '
                    f"`cove down {self.name}` ends it"
                ) from None
            try:
                yield
            finally:
                (self.path / "app.json").unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def begin_logs(self) -> None:
        """Begin the logs of a session; those of the last one are kept as ``logs.1``."""
        before = self.path / "logs.1"
        shutil.rmtree(before, ignore_errors=True)
        self.logs.rename(before)
        self.logs.mkdir(mode=0o700)

    @property
    def running(self) -> bool:
        """Whether a process holds the folder."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def announce(self, socket: Path, app: App) -> None:
        """Tell others how to reach the process that runs the application."""
        facts = {"pid": os.getpid(), "socket": str(socket), "root": str(app.root)}
        draft = self.path / ".app.json.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(facts, file)
        draft.replace(self.path / "app.json")

    def facts(self) -> dict[str, Any]:
        """What was announced; empty if nothing is."""
        try:
            found = json.loads((self.path / "app.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def apps(root: Path | None = None) -> list[AppFolder]:
    """Every application that ever ran, by name."""
    base = (root or home()) / "apps"
    if not base.is_dir():
        return []
    return [AppFolder(entry.name, root) for entry in sorted(base.iterdir()) if entry.is_dir()]
