"""Files: that a change is noticed, what it was, and where the kernel does not tell."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from cove.dev.contexts import Context
from cove.dev.errors import BuildError
from cove.dev.files import Scan, Watcher
from cove.dev.plan import Artifact


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_text("1")
    found = Scan(Context(Artifact(name="web", context=tmp_path)))
    assert set(found.look().changed) == {"Dockerfile", "a/one"}
    return found


def test_a_look_finds_what_is_new_other_and_gone(scan: Scan, tmp_path: Path) -> None:
    assert not scan.look()
    (tmp_path / "a/one").write_text("22")
    (tmp_path / "two").write_text("2")
    assert set(scan.look().changed) == {"a/one", "two"}
    shutil.move(tmp_path / "a", tmp_path / "b")
    changes = scan.look()
    assert (changes.changed, changes.deleted) == (("b/one",), ("a/one",))


def test_ignored_files_empty_folders_and_links_in_circles_are_no_changes(
    scan: Scan, tmp_path: Path
) -> None:
    (tmp_path / ".dockerignore").write_text("*.log\n")
    scan.look()
    (tmp_path / "x.log").write_text("x")
    (tmp_path / "empty").mkdir()
    assert not scan.look()
    os.symlink("..", tmp_path / "a/up")
    assert scan.look().changed == ("a/up",)


def test_the_hash_is_of_content_modes_and_arguments_not_of_times(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    context = Context(Artifact(name="web", context=tmp_path))
    first = context.digest({})
    os.utime(tmp_path / "Dockerfile", (1, 1))
    assert context.digest({}) == first
    (tmp_path / "Dockerfile").chmod(0o755)
    assert context.digest({}) != first
    (tmp_path / "Dockerfile").chmod(0o644)
    assert context.digest({"base": "other"}) != first
    (tmp_path / "Dockerfile").write_text("FROM scratch \n")
    assert context.digest({}) != first


def test_a_context_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is no folder"):
        Context(Artifact(name="web", context=tmp_path / "none")).paths()
    with pytest.raises(BuildError, match=r"there is no .*Dockerfile that says how"):
        Context(Artifact(name="web", context=tmp_path)).paths()


@pytest.mark.parametrize("poll", [False, True], ids=["told by the kernel", "looking"])
async def test_changes_are_told_from_the_first_moment_on(tmp_path: Path, poll: bool) -> None:
    async with Watcher([tmp_path], poll=poll, say=print) as watcher, asyncio.timeout(20):
        (tmp_path / "new").write_text("x")
        await watcher.changed.wait()
        assert tmp_path.resolve() / "new" in watcher.take()
        assert not watcher.changed.is_set()


async def test_where_the_kernel_refuses_files_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = watchfiles.awatch
    said: list[str] = []

    async def awatch(*roots: Path, **options: Any) -> AsyncIterator[Any]:
        if not options["force_polling"]:
            raise OSError("OS file watch limit reached")
        async for each in real(*roots, **options):
            yield each

    monkeypatch.setattr(watchfiles, "awatch", awatch)
    async with Watcher([tmp_path], say=said.append) as watcher, asyncio.timeout(20):
        (tmp_path / "new").write_text("x")
        await watcher.changed.wait()
    assert said == [
        "files cannot be watched (OS file watch limit reached): they are looked at every 0.3 s instead"
    ]
