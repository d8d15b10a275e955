"""The ``cove`` command as a user runs it: a process, over a home of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@dataclass
class Cove:
    """Runs ``cove`` with a home in a temporary folder."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """What the command sees: nothing of the user's own clusters, and no engine."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COVE_", "KUBE"))}
        user = self.home.parent / "user"
        ours = {"COVE_HOME": str(self.home), "COVE_CONTAINER_ENGINE": "none", "HOME": str(user)}
        return {**kept, **ours, **self.env, **more}

    def attempt(self, *arguments: str, **env: str) -> Done:
        """How the command ended, whatever that was."""
        done = subprocess.run(
            [sys.executable, "-m", "cove.cli", *arguments],
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, **env: str) -> str:
        """Standard output; fails the test if the command fails."""
        done = self.attempt(*arguments, **env)
        assert done.code == 0, f"cove {' '.join(arguments)}: {done.err}"
        return done.out

    def status(self, name: str = "cove") -> dict[str, Any]:
        """What ``cove status`` says of a cluster."""
        done = self.attempt("status", "-o", "json")
        return next(row for row in json.loads(done.out) if row["name"] == name)

    def folder(self, name: str = "cove") -> Path:
        """Where a cluster is."""
        return self.home / "clusters" / name

    def kubectl(self, *arguments: str, name: str = "cove", stdin: str = "") -> str:
        """The real kubectl, on a cluster."""
        done = subprocess.run(
            [str(BIN / "kubectl"), *arguments],
            env=self.environment(KUBECONFIG=str(self.folder(name) / "kubeconfig")),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def pid(self, name: str = "cove") -> int:
        """The process that serves a cluster."""
        return int((self.folder(name) / "lock").read_text())

    def kill(self, pid: int | None = None) -> None:
        """End a cluster's process as a crash would, and wait for its end."""
        handle = os.pidfd_open(pid or self.pid())
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            gone(handle)
        finally:
            os.close(handle)


def gone(handle: int) -> None:
    """Wait for the end of a process, given as a pidfd, that need not be ours."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(10_000), "the process did not end"
