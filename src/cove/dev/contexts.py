"""Contexts: which files an image is built of, what they come to, and their tar.

A file is read for its hash once for each of its contents: what has the time, size and inode
it had is not read again, so that a round costs a walk of the folder.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO

from cove.dev.errors import BuildError
from cove.dev.plan import Artifact
from cove.host.context import Ignored, IgnoreError, files

__all__ = ["Context"]

# Where a Dockerfile that lies outside of its context is in the tar.
OUTSIDE = ".cove.Dockerfile"


class Context:
    """The files of one artifact.  Its methods block: call them in a thread, one at a time."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._hashes: dict[str, tuple[tuple[int, int, int], bytes]] = {}

    @property
    def _file(self) -> Path:
        """The Dockerfile."""
        return (self.artifact.context / self.artifact.dockerfile).resolve()

    @property
    def dockerfile(self) -> str:
        """Its name in the tar."""
        try:
            return self._file.relative_to(self.artifact.context.resolve()).as_posix()
        except ValueError:
            return OUTSIDE

    def ignored(self) -> Ignored:
        """What is left out; raises BuildError for a .dockerignore that cannot be read."""
        try:
            return Ignored.read(self.artifact.context, self.dockerfile)
        except (IgnoreError, OSError, UnicodeDecodeError) as e:
            raise BuildError(f"{self.artifact.name}: {e}") from e

    def paths(self) -> list[str]:
        """What goes into the tar, relative, sorted; raises BuildError."""
        artifact = self.artifact
        if not artifact.context.is_dir():
            raise BuildError(f"{artifact.name}: its context {artifact.context} is no folder")
        if not self._file.is_file():
            raise BuildError(f"{artifact.name}: there is no {self._file} that says how to build it")
        try:
            return files(artifact.context, self.ignored())
        except OSError as e:
            raise BuildError(
                f"{artifact.name}: {e.filename}: {(e.strerror or str(e)).lower()}"
            ) from e

    def digest(self, more: Mapping[str, str]) -> str:
        """Sixteen hexadecimal digits of all that makes the image; raises BuildError.

        ``more`` is what else does: hashes of the images that it is built from.
        """
        artifact = self.artifact
        facts = {
            "args": dict(artifact.args),
            "target": artifact.target,
            "platforms": list(artifact.platforms),
            "dockerfile": self.dockerfile,
            "more": dict(more),
        }
        whole = sha256(json.dumps(facts, sort_keys=True).encode())
        known: dict[str, tuple[tuple[int, int, int], bytes]] = {}
        for path in self.paths():
            try:
                state, hashed = self._hash(path)
            except FileNotFoundError:
                continue  # it went between the walk and now: whoever watches says so
            except OSError as e:
                raise BuildError(
                    f"{artifact.name}: {artifact.context / path} cannot be read: "
                    f"{(e.strerror or str(e)).lower()}; let it be read, or name it in .dockerignore"
                ) from e
            known[path] = (state, hashed)
            whole.update(f"\0{path}\0".encode() + hashed)
        self._hashes = known
        if self.dockerfile == OUTSIDE:
            whole.update(self._file.read_bytes())
        return whole.hexdigest()[:16]

    def _hash(self, path: str) -> tuple[tuple[int, int, int], bytes]:
        file = self.artifact.context / path
        info = file.lstat()
        state = (info.st_mtime_ns, info.st_size, info.st_ino)
        before = self._hashes.get(path)
        if before is not None and before[0] == state and before[1][:4] == _mode(info.st_mode):
            return before
        content = sha256()
        if stat.S_ISLNK(info.st_mode):
            content.update(os.readlink(file).encode(errors="surrogateescape"))
        elif stat.S_ISREG(info.st_mode):
            with open(file, "rb") as data:
                while piece := data.read(1 << 20):
                    content.update(piece)
        return state, _mode(info.st_mode) + content.digest()

    def pack(self, tar: IO[bytes]) -> None:
        """Write the tar; raises BuildError for what cannot be read."""
        artifact = self.artifact
        with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in self.paths():
                # It remembers every file that it was given, for whoever asks: nobody does.
                archive.members.clear()  # type: ignore[attr-defined]
                try:
                    archive.add(artifact.context / path, path, recursive=False, filter=_anonymous)
                except FileNotFoundError:
                    continue
                except OSError as e:
                    raise BuildError(
                        f"{artifact.name}: {artifact.context / path}: {(e.strerror or str(e)).lower()}"
                    ) from e
            if self.dockerfile == OUTSIDE:
                archive.add(self._file, OUTSIDE, filter=_anonymous)


def _mode(mode: int) -> bytes:
    return mode.to_bytes(4, "big")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Who owns a file here is nothing to the image; sockets and the like are none of it."""
    if not (member.isfile() or member.issym() or member.isdir() or member.islnk()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
