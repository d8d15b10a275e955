"""What CI refuses in the tree and in the documentation, planted and found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def check(script: str, tree: Path) -> str:
    """What a check says of a tree that it has to refuse."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), str(tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of git, with a Makefile and nothing wrong with it."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "Makefile").write_text("test:\n")
    return tmp_path


def add(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)


@pytest.mark.parametrize(
    "marker", ["<" * 7 + " HEAD", "=" * 7, ">" * 7 + " theirs", "|" * 7 + " base"]
)
@pytest.mark.parametrize("name", ["src/a.py", "docs/b.md", "c"])
def test_conflict_markers_are_found_anywhere(tree: Path, name: str, marker: str) -> None:
    add(tree, name, f"one\n{marker}\ntwo\n")
    assert (
        check("check_tree.py", tree)
        == f"{name}:2: a conflict that was not resolved: {marker[:8]}\n"
    )


def test_lint_runs_the_check() -> None:
    assert "scripts/check_tree.py" in (ROOT / "Makefile").read_text().partition("lint:")[2]
    assert "make lint" in (ROOT / ".ci" / "run").read_text()


def test_tests_that_the_documentation_names_exist(tree: Path) -> None:
    add(tree, "tests/test_a.py", "async def test_one() -> None: ...\n")
    add(
        tree,
        "docs/features/x.md",
        "| X1 | a | `tests/test_a.py::test_one` |\n"
        "| X2 | b | `tests/test_a.py::test_two` |\n"
        "| X3 | c | `tests/test_b.py` |\n",
    )
    assert check("check_docs.py", tree) == (
        "docs/features/x.md: there is no test tests/test_a.py::test_two\n"
        "docs/features/x.md: there is no test tests/test_b.py\n"
    )
