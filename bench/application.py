"""An application: from the shell to ready, what the host costs, how soon it is gone."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

__all__ = ["application"]

COVE = str(Path(sysconfig.get_path("scripts")) / "cove")
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "full"


def _cove(*arguments: str) -> str:
    return subprocess.run([COVE, *arguments], capture_output=True, text=True, check=True).stdout


def _rss(pid: int) -> float:
    """Resident memory, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cluster_alone() -> float:
    """What the same cluster costs without a host, idle."""
    _cove("up", "--name", "alone", "--in-memory", "--nodes", "2")
    try:
        row = json.loads(_cove("status", "--name", "alone", "-o", "json"))[0]
        return _rss(int(row["pid"]))
    finally:
        _cove("reset", "--yes", "--name", "alone")


def application(rounds: int = 5) -> None:
    """Print the rows, for ``examples/full`` on the embedded engine with simulated pods."""
    with tempfile.TemporaryDirectory(prefix="cove-bench-") as folder:
        copy = Path(folder) / "full"
        shutil.copytree(EXAMPLE, copy)
        up, down, memory = [], [], []
        for _ in range(rounds):
            begun = time.perf_counter()
            _cove("up", str(copy), "--detach")
            up.append(time.perf_counter() - begun)
            home = Path(os.environ["COVE_HOME"])
            pid = json.loads((home / "apps" / "shop" / "app.json").read_text())["pid"]
            memory.append(_rss(pid))
            begun = time.perf_counter()
            _cove("down", "shop")
            down.append(time.perf_counter() - begun)
        alone = _cluster_alone()
    middle = statistics.median
    print(f"{'cove up examples/full (to ready)':<34}{middle(up):9.2f} s   goal ≤ 2 s")
    print(f"{'cove down (to nothing left)':<34}{middle(down):9.2f} s")
    host = middle(memory) - alone
    print(
        f"{'memory of the host':<34}{host:9.1f} MiB goal ≤ 80 MiB "
        f"({middle(memory):.0f} with the cluster, {alone:.0f} of the cluster alone)"
    )
