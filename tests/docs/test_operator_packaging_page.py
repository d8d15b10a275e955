"""The programs of the page about rights, files, commands and tests run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.conftest import execute

from cove.operator.generate import GENERATORS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operator-packaging.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("program", "says"),
    [(PROGRAMS[0], "ClusterRole ['configmaps', 'events', "), (PROGRAMS[1], "()\n")],
    ids=["rbac", "operating"],
)
async def test_a_program_of_the_packaging_page_runs(
    program: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "page.py").write_text(program)

    done = await execute(sys.executable, str(tmp_path / "page.py"))

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(says)


def test_every_generator_is_on_the_page() -> None:
    text = PAGE.read_text()

    assert [name for name in GENERATORS if f"| `{name}` |" not in text] == []
