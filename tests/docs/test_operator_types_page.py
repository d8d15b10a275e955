"""The programs of the page about types of operators run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.conftest import execute

import cove.operator

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operator-types.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
PATCH = (
    "[{'op': 'add', 'path': '/metadata/labels', 'value': {'app': 'box'}}, "
    "{'op': 'replace', 'path': '/spec/size', 'value': 3}]\n{'size': 3, 'later': True}\n"
)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (PROGRAMS[0], "{'ready': 1} key\n['kind:', 'Cache', 'listKind:', 'CacheList', "),
        (PROGRAMS[1], PATCH),
        (PROGRAMS[2], "spec.size | default: Invalid value: 0"),
    ],
    ids=["cache", "patch", "refused"],
)
async def test_a_program_of_the_page_runs(program: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(program)

    done = await execute(sys.executable, str(tmp_path / "page.py"))

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(says)


def test_every_marker_is_on_the_page() -> None:
    from cove.operator import markers

    table = PAGE.read_text()
    hidden = {"Marker", "Leaf", "Reason", "markers_of"}

    assert [n for n in markers.__all__ if n not in hidden and n not in table] == []
    assert [n for n in markers.__all__ if n not in {*hidden, *cove.operator.__all__}] == []
