"""An image with this machine's Python, what an operator imports, and cove; nothing is downloaded.

What a Dockerfile would fetch from a registry is taken from the interpreter that runs the tests:
the standard library, the distributions that cove depends on at run time, and the shared libraries
that those load.  Kept by its content: the next run finds it.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from importlib import metadata
from pathlib import Path

import cove
from cove.node.docker.connection import DockerError, Engine

__all__ = ["make_image"]

REPOSITORY = "cove.dev/operator-python"
ROOT = Path("/python")
# Of the standard library: what no operator imports.
_UNUSED = ("test", "idlelib", "ensurepip", "lib2to3", "tkinter", "site-packages", "turtledemo")
# What `cove operator run` imports, and what those need in turn.
_NEEDED = ("aiohttp", "cryptography", "immutables", "msgspec", "orjson", "PyYAML", "typer")
_CHANGES = (
    f"ENV LD_LIBRARY_PATH={ROOT}/lib PYTHONHOME={ROOT} PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1\n"
    f'ENTRYPOINT ["{ROOT}/bin/python", "-m", "cove.cli", "operator"]'
)

Entries = dict[str, Path]


def _standard() -> Iterator[tuple[str, Path]]:
    library = Path(sysconfig.get_path("stdlib"))
    version = library.name
    yield f"{ROOT}/bin/python", Path(sys.executable).resolve()
    for path in library.rglob("*"):
        first = path.relative_to(library).parts[0]
        if first in _UNUSED or first.startswith("config-") or not path.is_file():
            continue
        if ".opt-" in path.name:
            continue
        yield f"{ROOT}/lib/{version}/{path.relative_to(library)}", path


def _distributions() -> Iterator[tuple[str, Path]]:
    version = Path(sysconfig.get_path("stdlib")).name
    waiting, seen = list(_NEEDED), set[str]()
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform, or another Python
        for requirement in found.requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
        for file in found.files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and path.is_file():
                yield f"{ROOT}/lib/{version}/site-packages/{file}", path


def _cove() -> Iterator[tuple[str, Path]]:
    folder = Path(cove.__file__).parent
    version = Path(sysconfig.get_path("stdlib")).name
    for path in folder.rglob("*.py"):
        yield f"{ROOT}/lib/{version}/site-packages/cove/{path.relative_to(folder)}", path


def _libraries(files: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The shared libraries that files load, and the loader."""
    objects = [str(f) for f in files if ".so" in f.name or f == Path(sys.executable).resolve()]
    told = subprocess.run(["ldd", *objects], capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        match = re.search(r"(?:(\S+) => )?(/\S+) \(0x", line)
        if match is None:
            continue
        path = Path(match[2])
        if match[1] is None and path.name.startswith("ld-"):
            yield str(path), path
        elif match[1] is not None:
            yield f"{ROOT}/lib/{path.name}", path


def _entries(apps: Iterable[Path]) -> Entries:
    found: Entries = dict([*_standard(), *_distributions(), *_cove()])
    found.update(dict(_libraries(found.values())))
    found.update({f"/app/{app.name}": app for app in apps})
    return found


def _tag(entries: Entries) -> str:
    """What it is made of: content where it is ours, size and time where it is others'."""
    digest = blake2b(_CHANGES.encode(), digest_size=8)
    for name, path in sorted(entries.items()):
        own = "/cove/" in name or name.startswith("/app/")
        status = path.stat()
        what = path.read_bytes() if own else f"{status.st_size} {status.st_mtime_ns}".encode()
        digest.update(name.encode() + b"\0" + what + b"\0")
    return digest.hexdigest()


def _archive(entries: Entries) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", dereference=True) as tar:
        for name, path in sorted(entries.items()):
            # Not as links to each other: what pip has linked is several files here.
            tar.inodes = {}  # type: ignore[attr-defined]
            info = tar.gettarinfo(path, name.lstrip("/"))
            info.uid = info.gid = 0
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            with path.open("rb") as content:
                tar.addfile(info, content)
        entry = tarfile.TarInfo("tmp")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(entry)
    return file.getvalue()


async def make_image(engine: Engine, *apps: Path) -> str:
    """The name of an image that runs ``cove operator`` with modules in its path; made if needed.

    Earlier ones of other content are removed.
    """
    entries = _entries(apps)
    name = f"{REPOSITORY}:{_tag(entries)}"
    if await engine.image(name) is None:
        for image in await engine.docker.images.list(filters={"reference": [REPOSITORY]}):
            for tag in image["RepoTags"] or ():
                try:
                    await engine.docker.images.delete(tag)
                except DockerError as e:
                    if e.status not in (404, 409):
                        raise
        await engine.import_image(name, _archive(entries), _CHANGES)
    return name
