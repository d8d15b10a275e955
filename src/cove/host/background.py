"""``cove up APP --detach``: an application run by a process of its own, without a terminal.

The process is this module: ``python -m cove.host.background FILE FD OPTIONS``.  It writes
what the foreground would show to ``app.log`` and says through the descriptor when everything
is ready, or why it will not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cove.host.app import App
from cove.host.errors import ResourceError
from cove.host.folder import AppFolder
from cove.host.states import State, Status
from cove.kube.status import CoveError

__all__ = ["DetachError", "main", "start"]


class DetachError(ResourceError):
    """The application ended, or could not become ready, in the background."""


def start(
    file: str,
    app: App,
    *,
    engine: str | None,
    container_engine: str | None,
    context: str | None,
    say: Callable[[str], None],
) -> tuple[AppFolder, list[Status]]:
    """Start the application and return when all of it is ready: where it is, and how.

    Where something cannot become ready the application goes on, so that one can look at it,
    and DetachError says why.  Raises AppRunsError.
    """
    folder = AppFolder(app.name)
    with folder.taken():
        pass  # nobody runs it; it takes the folder itself
    read, write = os.pipe()
    options = json.dumps(
        {"engine": engine, "container_engine": container_engine, "context": context}
    )
    with open(folder.path / "app.log", "wb", opener=_private) as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cove.host.background",
                str(_absolute(file)),
                str(write),
                options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[write],
            start_new_session=True,
        )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            for line in pipe:
                doc = json.loads(line)
                if "said" in doc:
                    say(doc["said"])
                elif doc.get("error"):
                    raise DetachError(doc["error"])
                else:
                    return folder, [Status.from_dict(s) for s in doc["statuses"]]
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    process.wait()
    last = (folder.path / "app.log").read_text(errors="replace").splitlines()[-12:]
    told = "\n".join(f"  {text}" for text in last)
    raise DetachError(f"{app.name} ended at once; {folder.path / 'app.log'} ends with\n{told}")


def _absolute(file: str) -> str:
    path, separator, variable = file.partition(":")
    return f"{Path(path).resolve()}{separator}{variable}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def main(file: str, descriptor: int, text: str) -> int:
    """Run until told to end; the exit code."""
    from cove.host.foreground import run
    from cove.host.load import load

    os.set_inheritable(descriptor, False)
    options = json.loads(text)
    teller = _Teller(descriptor)
    try:
        work = run(load(file), watcher=teller, **options)
        try:
            import uvloop
        except ImportError:
            return asyncio.run(work)
        return uvloop.run(work)
    except CoveError as e:
        print(f"error: {e}", file=sys.stderr, flush=True)  # noqa: T201 — its log
        teller.blocked(str(e))
        return 1


class _Teller:
    """Tells who started us, through a pipe, how the start goes."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", buffering=1)
        self._states: dict[str, State] = {}

    def _tell(self, *, last: bool = True, **doc: Any) -> None:
        if self._pipe.closed:
            return
        try:
            self._pipe.write(json.dumps(doc) + "\n")
        except BrokenPipeError:
            last = True  # who started us was interrupted
        if last:
            with contextlib.suppress(BrokenPipeError):
                self._pipe.close()

    async def state(self, status: Status) -> None:
        if self._states.get(status.name) is not status.state:
            self._states[status.name] = status.state
            self._tell(last=False, said=str(status))

    def ready(self, statuses: list[Status]) -> None:
        self._tell(statuses=[status.to_dict() for status in statuses])

    def blocked(self, why: str) -> None:
        self._tell(error=why)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
