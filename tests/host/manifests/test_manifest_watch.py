"""Changes of files: told once they are there, whatever the source is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from cove.host.manifests import changes


def write(path: str, text: str = "another") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return change


def replace(path: str) -> Callable[[Path], None]:
    """As editors save: another file takes the name."""

    def change(root: Path) -> None:
        (root / "swap").write_text("another")
        os.replace(root / "swap", root / path)

    return change


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file, a directory, and a kustomization with a base elsewhere."""
    for path, text in (
        ("app.yaml", "old"),
        ("all/a.yaml", "old"),
        ("all/notes.txt", "old"),
        ("base/kustomization.yaml", "resources: [map.yaml]"),
        ("base/map.yaml", "old"),
        ("overlays/dev/kustomization.yaml", "resources: [../../base]"),
        ("overlays/dev/patches/p.yaml", "old"),
    ):
        write(path, text)(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("app.yaml", write("app.yaml")),
        ("app.yaml", replace("app.yaml")),
        ("app.yaml", remove("app.yaml")),
        ("later.yaml", write("later.yaml")),
        ("new/folder/later.yaml", write("new/folder/later.yaml")),
        ("all", write("all/a.yaml")),
        ("all", write("all/b.yml")),
        ("all", remove("all/a.yaml")),
        ("overlays/dev", write("overlays/dev/patches/p.yaml")),
        ("overlays/dev", write("base/map.yaml")),
        ("overlays/dev/kustomization.yaml", write("base/map.yaml")),
    ],
    ids=[
        "file",
        "replaced",
        "removed",
        "later",
        "later-in-a-new-folder",
        "directory",
        "one-more",
        "one-less",
        "kustomization",
        "base",
        "kustomization-itself",
    ],
)
@pytest.mark.parametrize("early", [False, True], ids=["while-watching", "before"])
async def test_a_change_is_told(
    root: Path, source: str, change: Callable[[Path], None], early: bool
) -> None:
    """Also one that happens after it was asked for and before it is waited for."""
    async with watching(root / source) as told:
        if early:
            change(root)
        first = asyncio.ensure_future(anext(told))

        if not early:
            # Long enough to be watching; one that comes before that is told as well.
            await asyncio.sleep(0.1)
            change(root)

        async with asyncio.timeout(30):
            await first


async def test_what_is_no_part_of_the_source_is_not_told(root: Path) -> None:
    """The second change is told; the first was none."""
    async with watching(root / "all") as told:
        first = asyncio.ensure_future(anext(told))
        write("all/notes.txt", "other")(root)
        write("all/below/x.yaml")(root)
        await asyncio.wait((first,), timeout=0.6)
        early = first.done()

        write("all/a.yaml")(root)
        async with asyncio.timeout(30):
            await first

    assert not early


async def test_a_base_that_is_named_later_is_watched(root: Path) -> None:
    async with watching(root / "overlays" / "dev") as told:
        first = asyncio.ensure_future(anext(told))
        write("more/kustomization.yaml", "resources: [m.yaml]")(root)
        write("overlays/dev/kustomization.yaml", "resources: [../../base, ../../more]")(root)
        async with asyncio.timeout(30):
            await first
            second = asyncio.ensure_future(anext(told))

            write("more/m.yaml")(root)

            await second


async def test_leaving_stops_watching(root: Path) -> None:
    before = asyncio.all_tasks()
    told = changes(root / "all")
    waiting = asyncio.create_task(anext(told))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await told.aclose()

    assert asyncio.all_tasks() == before


def watching(source: Path) -> aclosing[AsyncGenerator[None, None]]:
    return aclosing(changes(source))
