"""The program of the page about operators runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.conftest import execute

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operator.md"


async def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text(program)

    done = await execute(sys.executable, str(tmp_path / "page.py"))

    assert (done.code, done.out, done.err) == (0, "ready: 3\n", "")
