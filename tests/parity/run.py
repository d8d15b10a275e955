"""Replays the recordings of a real Kubernetes 1.36 against a cluster of our own.

``make parity`` says where we stand; ``--ratchet`` fails if a scenario falls behind what
``ratchet.json`` says it has reached, ``--raise`` writes a better result down.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COVE = Path(sysconfig.get_path("scripts")) / "cove"
RATCHET = HERE / "ratchet.json"
# The conditions of the recording.
OPTIONS = (
    "--nodes=0",
    "--service-subnet=10.0.0.0/24",
    "--disable-admission=ServiceAccount",
    "--in-memory",
)


def replay(only: str | None, verbose: bool, quiet: bool = False) -> dict[str, Any]:
    """Start a cluster, replay, stop it; the tool's report."""
    with tempfile.TemporaryDirectory(prefix="cove-parity-") as folder:
        env = {**os.environ, "COVE_HOME": folder}
        subprocess.run([COVE, "up", "--name", "parity", *OPTIONS], check=True, env=env)
        try:
            path = subprocess.run(
                [COVE, "kubeconfig", "--name", "parity"],
                check=True,
                env=env,
                capture_output=True,
                text=True,
            ).stdout.strip()
            report = Path(folder) / "report.json"
            command = [
                *(sys.executable, str(HERE / "parity.py"), "replay", "--kubeconfig", path),
                *("--scenarios", str(HERE / "scenarios"), "--golden", str(HERE / "golden")),
                *("--jobs", "4", "--json", str(report)),
            ]
            if only:
                command += ["--only", only]
            if verbose:
                command.append("-v")
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL if quiet else None)
            found: dict[str, Any] = json.loads(report.read_text())
            return found
        finally:
            subprocess.run([COVE, "reset", "--yes", "--name", "parity"], check=False, env=env)


def reached(report: dict[str, Any]) -> dict[str, int]:
    """Scenario → identical steps."""
    return {r["name"]: r["identical"] for r in report["results"]}


def fallen(report: dict[str, Any], ratchet: dict[str, int]) -> list[str]:
    """What is worse than the ratchet says, a line each."""
    now = {r["name"]: r for r in report["results"]}
    lines = []
    for name, least in ratchet.items():
        result = now.get(name)
        if result is not None and result["identical"] < least:
            steps = ", ".join(str(f["id"]) for f in result["failed"][:8])
            lines.append(f"{name}: {result['identical']} steps identical, {least} before ({steps})")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="globs of scenario names, comma separated")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what differs")
    parser.add_argument("--ratchet", action="store_true", help="fail if something got worse")
    parser.add_argument("--raise", dest="lift", action="store_true", help="write the ratchet")
    arguments = parser.parse_args()
    report = replay(arguments.only, arguments.verbose)
    known: dict[str, int] = json.loads(RATCHET.read_text()) if RATCHET.exists() else {}
    if arguments.lift:
        for name, count in reached(report).items():
            known[name] = max(known.get(name, 0), count)
        RATCHET.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    lines = fallen(report, known)
    for line in lines:
        print(f"FELL BACK {line}")
    return 1 if arguments.ratchet and lines else 0


if __name__ == "__main__":
    sys.exit(main())
