"""The programs on the page about engines run."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from command import Cove

PAGE = Path(__file__).resolve().parents[2] / "docs" / "engines.md"


async def test_the_example_of_the_page_runs(cove: Cove) -> None:
    [program] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env=cove.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    assert (process.returncode, err.decode()) == (0, "")
    assert out.decode().splitlines()[-2:] == [
        "Health(healthy=True, reason='')",
        "kubeconfig v1.36.2",
    ]
