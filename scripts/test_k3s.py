"""Run what there is for k3s on its real image, or say plainly why that cannot be.

Exit codes: what the tests exit with, 3 where they could not be run.  Run by
``make test-k3s``.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_RUN = 3
SUITES = ("tests/engines/test_k3s_real.py",)
# The five faces, whose applications, loops and runs make clusters of this engine.
FACES = ("tests/host", "tests/testing", "tests/dev", "tests/operator", "tests/files")
# Examples of the testing face, on k3s by one flag.
EXAMPLE = "examples/testing"


async def obstacle() -> str:
    """Why the real image cannot be used here, "" if it can."""
    from cove.engines.cluster import ClusterOptions
    from cove.engines.door import engine_for
    from cove.engines.k3s import images, spec
    from cove.kube.status import CoveError
    from cove.node.docker.connection import Engine

    image = os.environ.get("COVE_K3S_IMAGE") or spec.image(ClusterOptions(), "server")
    try:
        async with Engine(engine_for(None, "k3s needs Docker or Podman")) as engine:
            await images.have(engine, image, print)
    except CoveError as e:
        return str(e)
    return ""


def main() -> int:
    """The exit code."""
    why = asyncio.run(obstacle())
    if why:
        print(f"k3s was not tested: {why}", file=sys.stderr)
        return NOT_RUN
    environment = {**os.environ, "COVE_TEST_K3S": "1", "COVE_REQUIRE": "k3s"}
    command = [sys.executable, "-m", "pytest"]
    first = subprocess.run([*command, *SUITES], cwd=ROOT, env=environment, check=False)
    flags = ["--cove-engine", "k3s"]
    second = subprocess.run([*command, *flags], cwd=ROOT / EXAMPLE, env=environment, check=False)
    there = {**environment, "COVE_TEST_ENGINE": "k3s"}
    third = subprocess.run([*command, *FACES], cwd=ROOT, env=there, check=False)
    return first.returncode or second.returncode or third.returncode


if __name__ == "__main__":
    sys.exit(main())
