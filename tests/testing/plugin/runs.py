"""Runs of pytest in a folder of their own, as a user has them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "Project"]

INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
# What a run inherits of the environment would be pytest's own of the run that runs it.
HIDDEN = (
    *("PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"),
    # Each run would compile all of cove anew.
    "PYTHONDONTWRITEBYTECODE",
)
HEAD = "import cove, pytest\nfrom cove.testing import *\n\n"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the exit code, all it said, how many tests did what."""

    code: int
    text: str

    @property
    def counts(self) -> dict[str, int]:
        """``{"passed": 2, "failed": 1}``, of the last line."""
        last = [line for line in self.text.splitlines() if " in " in line][-1]
        return {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) ([a-z]+)", last)}


class Project:
    """A folder with tests; :meth:`run` runs them in a process of their own."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.home = home
        # More of the environment of its runs.
        self.variables: dict[str, str] = {}
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        (root / "pytest.ini").write_text(INI)

    def write(self, name: str, text: str) -> None:
        """A file; a test module begins with what everybody imports."""
        head = HEAD if name.endswith(".py") else ""
        (self.root / name).write_text(head + textwrap.dedent(text))

    def environment(self) -> dict[str, str]:
        """What the run is given."""
        env = {k: v for k, v in os.environ.items() if k not in HIDDEN}
        # Folders of its own: what it leaves behind is seen.
        own = {"TMPDIR": str(self.temporary), "COVE_HOME": str(self.home)}
        return {**env, **own, **self.variables}

    def command(self, *arguments: str) -> list[str]:
        """The command of a run."""
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """A run that goes on."""
        return await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    async def run(self, *arguments: str) -> Outcome:
        """A run to its end."""
        process = await self.start(*arguments)
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        # Shown where the test that it is for fails.
        print(out.decode())
        return Outcome(process.returncode, out.decode())

    @property
    def left(self) -> list[str]:
        """What runs have left in the folder for temporary files."""
        return sorted(
            str(path.relative_to(self.temporary))
            for path in self.temporary.rglob("*")
            if path.is_file() and "pytest-of" not in str(path)
        )
