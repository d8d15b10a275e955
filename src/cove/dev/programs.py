"""Programs: those of a plan on this machine, with what they refer to, restarted on change."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cove.dev.files import Watcher
from cove.dev.patterns import fits
from cove.dev.plan import Program
from cove.host.references import environment, image_reference
from cove.host.spawn import Program as Process
from cove.host.sweep import SESSION

if TYPE_CHECKING:
    from cove.host.images import Built

__all__ = ["given", "run_program"]

Say = Callable[[str, str], None]


def given(
    program: Program,
    *,
    cluster: str,
    kubeconfig: Path,
    urls: Mapping[str, str],
    images: Mapping[str, Built],
    session: str,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a program: this one's, what is declared, what it refers to.

    ``KUBECONFIG`` is there always: the loop has one cluster.  ``cluster`` is its name in the
    declaration, ``urls`` and ``images`` are by name.
    """
    parts: list[Mapping[str, str]] = [{"KUBECONFIG": str(kubeconfig), "COVE_CLUSTER": cluster}]
    for name in program.references:
        if name in urls:
            parts.append({f"services__{name}__url": urls[name]})
        if name in images:
            parts.append(image_reference(name, images[name].reference))
    port = {} if program.port is None else {program.port_env: str(program.port or _free_port())}
    own = os.environ if environ is None else environ
    return {
        **own,
        "PYTHONUNBUFFERED": "1",
        **port,
        **program.env,
        **environment(parts),
        SESSION: session,
    }


async def run_program(
    program: Program,
    env: Mapping[str, str],
    *,
    say: Say,
    watch: bool,
    poll: bool = False,
    hurry: asyncio.Event,
) -> int:
    """Run it, again whenever a file changes that it watches; ``watch`` False: once.

    Returns its exit code when it has ended and is not to be run again.  Cancelled, nothing
    of it runs when this has ended.  Raises ResourceError if it cannot be started.
    """

    def line(text: str) -> None:
        say(program.name, text)

    roots = [program.cwd] if watch else []
    async with Watcher(roots, poll=poll, say=line) as watcher:
        while True:
            process = await Process.start(
                list(program.command), cwd=program.cwd, env=env, line=line
            )
            try:
                ended = asyncio.create_task(process.wait(), name=f"end of {program.name}")
                changed = asyncio.create_task(
                    _changed(program, watcher), name=f"files of {program.name}"
                )
                try:
                    await asyncio.wait((ended, changed), return_when=asyncio.FIRST_COMPLETED)
                    if ended.done():
                        code = ended.result()
                        if not watch:
                            return code
                        line(f"ended with exit code {code}; it starts again when a file changes")
                    what = await changed
                finally:
                    for task in (ended, changed):
                        task.cancel()
                    await asyncio.gather(ended, changed, return_exceptions=True)
            finally:
                await process.stop(program.grace, hurry)
            line(f"{what} has changed: starting again")


async def _changed(program: Program, watcher: Watcher) -> str:
    """The first file that has changed and matters."""
    root = program.cwd.resolve()
    while True:
        await watcher.changed.wait()
        for path in sorted(watcher.take()):
            relative = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
            if relative and any(fits(pattern, relative) for pattern in program.watch):
                return relative


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
