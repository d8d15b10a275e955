"""The example of a test suite runs as a user runs it, on the embedded engine and elsewhere."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

import cove

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "testing"

# pods are to run here, and a run is not to compile all of cove anew.
HIDDEN = ("COVE_CONTAINER_ENGINE", "PYTHONDONTWRITEBYTECODE")


async def run(folder: Path, *arguments: str, **env: str) -> tuple[dict[str, int], str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"),
        *arguments,
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if k not in HIDDEN},
            **env,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    text = out.decode()
    last = text.splitlines()[-1]
    return {word: int(n) for n, word in re.findall(r"(\d+) ([a-z]+)", last)}, text


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "testing"))


@pytest.mark.requires("docker", "root", "caddy", "registry", "kubectl")
async def test_the_whole_suite_passes(example: Path) -> None:
    counts, text = await run(example, "--cove-engine=embedded", "--cove-report=report.html")
    assert counts.keys() == {"passed"}, text
    assert counts["passed"] == 16
    assert "test_a_page_is_served_over_https" in (example / "report.html").read_text()


async def test_by_two_workers(example: Path) -> None:
    counts, text = await run(
        example,
        *("--cove-engine=embedded", "-n", "2", "test_operator.py", "test_busy_server.py"),
    )
    assert counts == {"passed": 10}, text


async def test_on_a_cluster_that_exists(example: Path) -> None:
    async with cove.embedded() as elsewhere:
        counts, text = await run(
            example,
            *("--cove-engine=existing", "-rs", "test_busy_server.py", "test_backups.py"),
            KUBECONFIG=str(elsewhere.kubeconfig_path),
        )
    assert counts == {"passed": 1, "skipped": 7}, text
    assert "clocks need the embedded engine; k8s is existing" in text
