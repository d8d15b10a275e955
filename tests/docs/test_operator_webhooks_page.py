"""The programs of the page about webhooks run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.conftest import execute

from cove.operator.webhooks.declarations import MutateOptions

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operator-webhooks.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
REFUSED = (
    "{'app': 'small'}\n"
    '422 admission webhook "check.caches.cache.example.com" denied the request: '
    "spec.size: at most 5\n"
)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (PROGRAMS[0], REFUSED),
        (PROGRAMS[1], "Cache …: cache.example.com/v1 → cache.example.com/v1beta1 → "),
    ],
    ids=["validate", "convert"],
)
async def test_a_program_of_the_page_runs(program: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(program)

    done = await execute(sys.executable, str(tmp_path / "page.py"))

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(says)


def test_every_option_is_on_the_page() -> None:
    text = PAGE.read_text()

    assert [name for name in MutateOptions.__annotations__ if f"`{name}" not in text] == []
