"""The programs of the page about Helm releases and manifests run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.conftest import execute

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "helm-and-manifests.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.requires("helm")
@pytest.mark.parametrize(
    ("program", "says"),
    [
        (PROGRAMS[0], "deployed 1 size: 3\n"),
        (PROGRAMS[1], "directory ['namespace/shop', 'configmap/b']\n"),
    ],
    ids=["helm", "manifests"],
)
async def test_a_program_of_the_page_runs(
    program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = await execute(sys.executable, "-c", program)

    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(says)
