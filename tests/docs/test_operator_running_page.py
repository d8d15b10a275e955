"""The program of the page about running operators runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.conftest import execute

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "operator-running.md"
SAYS = """first works on small
readyz check passed
leader_election_master_status{name="cache-operator"} 1.0
second works on small
"""


async def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text(program)

    done = await execute(sys.executable, str(tmp_path / "page.py"))

    assert (done.code, done.out, done.err) == (0, SAYS, "")


def test_every_setting_of_leadership_and_every_check_is_on_the_page() -> None:
    from cove.operator import Leadership
    from cove.operator.health import Health

    page = PAGE.read_text()
    assert [n for n in ("lease", "renew", "retry") if f"`{n}`" not in page] == []
    assert {"lease", "renew", "retry"} <= set(Leadership.__slots__)
    assert [c.name for c in Health().checks if f"`{c.name}`" not in page] == []
