"""What goes into a build: .dockerignore as Docker reads it, and a hash of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.host.context import Ignored, IgnoreError, digest, files

# Pattern lines, a path, and whether it is left out.  The rules are those of Docker's page.
CASES = [
    (["*.md"], "README.md", True),
    (["*.md"], "docs/README.md", False),
    (["**/*.md"], "docs/a/README.md", True),
    (["**/*.md"], "README.md", True),
    (["*/temp*"], "a/temporary.txt", True),
    (["*/temp*"], "a/b/temporary.txt", False),
    (["*/*/temp*"], "a/b/temporary.txt", True),
    (["temp?"], "tempa", True),
    (["temp?"], "temp", False),
    (["node_modules"], "node_modules/x/y.js", True),
    (["node_modules"], "node_modules_of_mine", False),
    (["/build/"], "build/out", True),
    (["./build"], "build/out", True),
    (["*.md", "!README.md"], "README.md", False),
    (["!README.md", "*.md"], "README.md", True),
    (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
    (["# not a pattern", "", "a"], "a", True),
    (["[ab].txt"], "a.txt", True),
    (["[ab].txt"], "c.txt", False),
    (["a.c"], "abc", False),
    (["**"], "any/thing", True),
    (["a/**/z"], "a/z", True),
    (["a/**/z"], "a/b/c/z", True),
]


@pytest.mark.parametrize(("lines", "path", "out"), CASES)
def test_dockerignore(lines: list[str], path: str, out: bool) -> None:
    assert Ignored(lines)(path) is out


def test_what_says_how_to_build_is_never_left_out(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("**\n")
    for name in ("Dockerfile", "x"):
        (tmp_path / name).write_text("")
    assert files(tmp_path, Ignored.read(tmp_path, "Dockerfile")) == [".dockerignore", "Dockerfile"]


def test_a_line_that_is_no_pattern_is_told(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("ok\n!\n")
    with pytest.raises(IgnoreError, match=r'\.dockerignore:2: "!" names nothing'):
        Ignored.read(tmp_path, "Dockerfile")


def test_folders_links_and_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "a" / "empty").mkdir(parents=True)
    (tmp_path / "a" / "f").write_text("x")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "skip").mkdir()
    (tmp_path / "skip" / "keep").write_text("x")
    (tmp_path / "skip" / "drop").write_text("x")
    assert files(tmp_path, Ignored(["skip", "!skip/keep"])) == [
        "a/empty",
        "a/f",
        "link",
        "skip/keep",
    ]


def test_the_hash_is_of_names_content_modes_and_arguments(tmp_path: Path) -> None:
    def now(**more: str) -> str:
        return digest(tmp_path, files(tmp_path, Ignored([])), more)

    (tmp_path / "f").write_text("x")
    first = now()
    assert now() == first
    assert now(arg="1") != first
    (tmp_path / "f").chmod(0o755)
    moded = now()
    assert moded != first
    (tmp_path / "f").write_text("y")
    assert now() != moded
