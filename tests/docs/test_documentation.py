"""What the documentation shows is true: its programs run, its links and commands exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import execute
from tests.node.docker.docker_world import make_image

from cove.node.docker import EngineAddress
from cove.node.docker.connection import Engine

ROOT = Path(__file__).resolve().parent.parent.parent


def _readme() -> tuple[str, str, str]:
    """The program of the README, its application, its suite of tests."""
    program, application, suite = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return program, application, suite


def test_the_readme_s_application_is_an_example() -> None:
    """Statement by statement; the example itself is run by a test of its own."""
    told = ast.parse(_readme()[1]).body
    example = ast.parse((ROOT / "examples" / "small" / "app.py").read_text()).body

    assert [ast.dump(s) for s in told] == [ast.dump(s) for s in example[-len(told) :]]


def test_the_readme_s_program_runs() -> None:
    """As it stands in the README, in a process of its own."""
    program, _, _ = _readme()

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "/forks/" in done.stdout


def test_the_readme_s_suite_passes(tmp_path: Path) -> None:
    """As it stands in the README, beside a deployment of that name."""
    (tmp_path / "test_readme.py").write_text(_readme()[2])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "deploy.yaml").write_text(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: "
        "{matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: "
        "[{name: c, image: i}]}}}}"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )

    assert "1 passed" in done.stdout, done.stdout


PROGRAMS = re.findall(
    r"## (\w+).*?```python\n(.*?)```",
    (ROOT / "docs" / "time-and-faults.md").read_text(),
    re.DOTALL,
)


@pytest.mark.parametrize("program", [p for _, p in PROGRAMS], ids=[name for name, _ in PROGRAMS])
def test_the_programs_of_the_pages_run(program: str) -> None:
    """As they stand there, without a word of complaint."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_links_and_commands_of_the_documentation_exist() -> None:
    """The same check as `make docs`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_docs.py")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.requires("docker")
async def test_the_program_that_runs_a_container() -> None:
    """As it stands in docs/containers.md, with the image it names."""
    page = (ROOT / "docs" / "containers.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    image = "shop/hello:v1"
    async with Engine(EngineAddress("unix:///var/run/docker.sock", "test")) as engine:
        await make_image(engine, image)
        try:
            done = await execute(sys.executable, "-c", program)
        finally:
            await engine.docker.images.delete(image, force=True)

    assert (done.code, done.out, done.err) == (0, "b'hello\\n'\n", "")
