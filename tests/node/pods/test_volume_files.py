"""Directories that change all at once."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some

from cove.node.pods.files import File, write

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
names = some.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
contents = some.dictionaries(names, some.binary(max_size=20), max_size=5)


def read(folder: Path) -> dict[str, bytes]:
    """What somebody sees who lists the directory as a container does."""
    found = {}
    for top in sorted(os.listdir(folder)):
        if not top.startswith(".."):
            path = folder / top
            files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
            found.update({str(p.relative_to(folder)): p.read_bytes() for p in files})
    return found


@settings(deadline=None)
@given(some.lists(contents, min_size=1, max_size=5))
def test_the_directory_is_what_was_written_last(versions: list[dict[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "v"
        for index, version in enumerate(versions):
            files = {k: File(v) for k, v in version.items()}
            write(folder, files, NOW + timedelta(seconds=index))
            assert read(folder) == version
        dated = [e for e in os.listdir(folder) if e.startswith("..2")]
        assert len(dated) == 1


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    files = {"a": File(b"1", 0o400)}
    assert write(tmp_path / "v", files, NOW)
    before = os.readlink(tmp_path / "v" / "..data")
    assert not write(tmp_path / "v", files, NOW + timedelta(hours=1))
    assert os.readlink(tmp_path / "v" / "..data") == before
    assert write(tmp_path / "v", {"a": File(b"1", 0o440)}, NOW + timedelta(hours=1))


def test_modes_are_those_that_were_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "v", {"a": File(b"1", 0o400), "b": File(b"2", 0o755)}, NOW)
    modes = {n: (tmp_path / "v" / n).stat().st_mode & 0o777 for n in ("a", "b")}
    assert modes == {"a": 0o400, "b": 0o755}
