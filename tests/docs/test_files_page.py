"""The page about files says what is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cove.cli._app import app
from cove.client import kubeconfig
from cove.engines.embedded import embedded
from cove.files.errors import code_of
from cove.files.following import IDLE, PAGE, WATCHES
from cove.files.logs import AHEAD, LIMIT
from cove.files.paths import parse
from cove.kube.status import StatusError

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text()


async def test_the_program_prints_sizes_that_are_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    async with embedded(nodes=0) as cluster:
        connection = kubeconfig.load(cluster.kubeconfig_path)
        monkeypatch.setattr(kubeconfig, "load", lambda *_: connection)
        exec(program.replace("asyncio.run(main())", ""), names)
        await names["main"]()  # type: ignore[operator]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert "kube-root-ca.crt" in [name for name, _, _ in lines]
    assert all(told == read for _, told, read in lines)


def test_the_layout_is_one() -> None:
    """Every path of it names something."""
    layout = re.findall(r"^(/(?:namespaces|cluster|by-label|history)/\S+)(.*)$", TEXT, re.MULTILINE)
    assert len(layout) == 7
    for path, rest in layout:
        parse(path.replace("REVISION", "12"))
        for sibling in re.findall(r"(?<=   )\w+\.\w+", rest):
            parse(f"{path.rpartition('/')[0]}/{sibling}")


def test_options_and_commands_are_there() -> None:
    """Each that the page names is in a help."""
    helps = "".join(
        CliRunner().invoke(app, ["files", command, "--help"], env={"COLUMNS": "200"}).output
        for command in ("mount", "unmount", "ls", "cat", "find", "export")
    )
    ours = re.sub(r"docker run .*|kubectl proxy --unix-socket|`ls -l`", "", TEXT)
    for option in {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)}:
        assert option in helps, option


def test_numbers_and_errors_are_those_of_the_code() -> None:
    assert f"At most {WATCHES} collections" in TEXT
    assert f"pages of {PAGE}" in TEXT
    assert IDLE == 5 * 60
    assert "five\nminutes" in TEXT
    assert f"at most {AHEAD >> 20} MiB ahead" in TEXT
    assert f"More than {LIMIT >> 30} GiB" in TEXT
    table = dict(re.findall(r"^\| (\d{3})[^|]*\| (E\w+) \|$", TEXT, re.MULTILINE))
    import errno

    for status, name in table.items():
        assert errno.errorcode[code_of(StatusError(int(status), "", ""))] == name
    assert len(table) == 4
