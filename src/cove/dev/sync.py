"""Sync: changed files into running containers, as one tar over exec.

What was copied since an image was built is its *delta*.  Each container is brought up to it:
one that runs already gets what is new, one that takes its place gets all of it, before it
counts as ready here.  A new image holds everything, and starts with an empty delta.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from cove.client import Client, ClientError, Clock, ExecError, SystemClock, Tasks
from cove.dev.errors import SyncRefusedError
from cove.dev.patterns import fits
from cove.dev.plan import Artifact
from cove.dev.pods import Container
from cove.kube.status import StatusError

__all__ = ["Copied", "Entry", "Syncer", "archive"]

Say = Callable[[str, str], None]

# Seconds until a container that did not answer is tried again, and how often.
AGAIN, TRIES = 0.25, 20
# Paths that are deleted by one call of rm.
_AT_ONCE = 100
# The names of what goes come first, a line each, then an empty line, then the tar: the
# shell's read takes no more than it needs.
_SCRIPT = f"""set --
while IFS= read -r path && [ -n "$path" ]; do
  set -- "$@" "$path"
  if [ $# -ge {_AT_ONCE} ]; then rm -rf -- "$@" || exit 3; set --; fi
done
if [ $# -gt 0 ]; then rm -rf -- "$@" || exit 3; fi
exec tar -x -o -f - -C /
"""


class Entry(NamedTuple):
    """A path in the container: the file here that it is a copy of, None for one that is gone."""

    version: int
    path: str
    source: Path | None


@dataclass(slots=True)
class _Delta:
    """What was copied since an image was built, by path in the container."""

    image: str
    version: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    refused: str = ""


@dataclass(slots=True)
class _Copy:
    """A container, and the version of the delta that it has."""

    container: Container
    version: int = 0
    # Whether there was something to copy when it came: it takes another one's place.
    replay: bool = False


class Copied(NamedTuple):
    """What :meth:`Syncer.settle` has waited for: how many containers have everything."""

    containers: int
    seconds: float


def archive(entries: Iterable[Entry]) -> tuple[bytes, list[str]]:
    """What is sent for entries, and the paths that had to be left out.  Blocks.

    A file that has gone meanwhile is deleted there as well: whoever watches tells so next.
    """
    gone: list[str] = []
    left: list[str] = []
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT) as packed:
        for entry in entries:
            packed.members.clear()  # type: ignore[attr-defined]  # see Context.pack
            if "\n" in entry.path:
                left.append(entry.path)
                continue
            if entry.source is None:
                gone.append(entry.path)
                continue
            try:
                member = packed.gettarinfo(entry.source, entry.path.lstrip("/"))
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                # Each file of its own: a hard link's other name may not be among them.
                if member.islnk():
                    member.type = tarfile.REGTYPE
                    member.size = entry.source.stat().st_size
                if member.isreg():
                    with open(entry.source, "rb") as data:
                        packed.addfile(member, data)
                elif member.issym() or member.isdir():
                    packed.addfile(member)
            except FileNotFoundError:
                gone.append(entry.path)
    head = "".join(f"{path}\n" for path in gone) + "\n"
    return head.encode(errors="surrogateescape") + tar.getvalue(), left


class Syncer:
    """A listener of Pods: ``async with Syncer(client, artifacts) as syncer``.

    ``say(artifact, text)`` is told what happens.
    """

    def __init__(
        self,
        client: Client,
        artifacts: Mapping[str, Artifact],
        *,
        say: Say,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._artifacts = artifacts
        self._say = say
        self._clock = clock or SystemClock()
        self._tasks = Tasks()
        self._deltas: dict[str, _Delta] = {}
        self._copies: dict[Container, _Copy] = {}
        self._works: dict[Container, asyncio.Task[None]] = {}
        self._moved = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()

    # -- what was built, what was changed

    def built(self, artifact: str, image: str) -> None:
        """An image has taken the place of the last: what is copied from now on is on top."""
        if (known := self._deltas.get(artifact)) is None or known.image != image:
            self._deltas[artifact] = _Delta(image)

    def add(self, artifact: str, paths: Mapping[str, Path | None]) -> None:
        """Files have changed (path there → file here), or gone (None): have them copied."""
        delta = self._deltas[artifact]
        delta.version += 1
        for path, source in paths.items():
            # The last change comes last, also where it is about the same path.
            delta.entries.pop(path, None)
            delta.entries[path] = Entry(delta.version, path, source)
        for container in self._copies:
            if container.artifact == artifact:
                self._work(container)

    def copied(self, artifact: str) -> bool:
        """Whether containers have anything that their image has not."""
        delta = self._deltas.get(artifact)
        return delta is not None and bool(delta.entries)

    # -- containers

    def started(self, container: Container) -> None:
        """See Listener: a container that runs is brought up to the delta of its image."""
        replay = self.copied(container.artifact)
        self._copies[container] = _Copy(container, replay=replay)
        self._work(container)

    def gone(self, container: Container) -> None:
        """See Listener."""
        self._copies.pop(container, None)
        work = self._works.pop(container, None)
        if work is not None:
            work.cancel()
        self._tasks.start("sync told", self._tell())

    def _work(self, container: Container) -> None:
        if container not in self._works:
            self._works[container] = self._tasks.start(
                f"sync of {container}", self._bring_up(container)
            )

    def _behind(self, copy: _Copy) -> _Delta | None:
        delta = self._deltas.get(copy.container.artifact)
        if delta is None or delta.image != copy.container.image:
            return None
        return delta if copy.version < delta.version and not delta.refused else None

    async def _bring_up(self, container: Container) -> None:
        """Copy until nothing is missing."""
        copy = self._copies[container]
        failed = 0
        try:
            while (delta := self._behind(copy)) is not None:
                version = delta.version
                missing = [e for e in delta.entries.values() if e.version > copy.version]
                try:
                    await self._send(container, missing)
                except SyncRefusedError as e:
                    delta.refused = str(e)
                    return
                except (ClientError, StatusError, OSError) as e:
                    # It ends, or the server is away: who is told of its end cancels this.
                    failed += 1
                    if failed > TRIES:
                        delta.refused = f"{container} could not be reached: {e}"
                        return
                    await self._clock.sleep(AGAIN)
                    continue
                failed = 0
                await self._run_after(container, missing)
                if copy.replay:
                    copy.replay = False
                    self._say(
                        container.artifact, f"{len(missing)} changes replayed into {container}"
                    )
                copy.version = version
        finally:
            self._works.pop(container, None)
            await self._tell()

    async def _send(self, container: Container, entries: list[Entry]) -> None:
        """Copy and delete; raises SyncRefusedError where that cannot work."""
        try:
            data, left = await asyncio.to_thread(archive, entries)
        except OSError as e:
            raise SyncRefusedError(f"{e.filename}: {(e.strerror or str(e)).lower()}") from e
        if left:
            raise SyncRefusedError(f"{left[0]!r} has a name with a line break")
        try:
            result = await self._client.exec(
                container.pod,
                ["sh", "-c", _SCRIPT],
                container.namespace,
                container=container.name,
                stdin=data,
            )
        except ExecError as e:
            if any(t in str(e).lower() for t in ("executable file not found", "no such file")):
                raise SyncRefusedError(
                    f"{container} has no sh, by which files are copied: {e}"
                ) from e
            raise
        if result.code in (126, 127):
            raise SyncRefusedError(
                f"{container} has no sh or no tar, by which files are copied: {result.text}"
            )
        if result.code in (137, 143):
            raise ClientError(f"{container} ended while files were copied into it")
        if result.code:
            raise SyncRefusedError(f"{container}: {result.text or f'exit code {result.code}'}")

    async def _run_after(self, container: Container, entries: list[Entry]) -> None:
        """The commands that these files call for, one after the other."""
        artifact = self._artifacts[container.artifact]
        paths = [
            entry.source.relative_to(artifact.context).as_posix()
            for entry in entries
            if entry.source is not None and entry.source.is_relative_to(artifact.context)
        ]
        for command, pattern in artifact.run_after:
            if pattern and not any(fits(pattern, path) for path in paths):
                continue
            try:
                result = await self._client.exec(
                    container.pod,
                    ["sh", "-c", command],
                    container.namespace,
                    container=container.name,
                )
            except (ClientError, StatusError) as e:
                self._say(container.artifact, f"{command} in {container}: {e}")
                continue
            if result.code:
                self._say(
                    container.artifact,
                    f"{command} in {container} ended with exit code {result.code}: {result.text}",
                )

    # -- waiting

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def settle(self, artifact: str) -> Copied:
        """Return when every container of the artifact's image has its whole delta.

        Raises SyncRefusedError with the reason where it cannot be had.
        """
        begun = time.monotonic()
        delta = self._deltas.get(artifact)
        if delta is None:
            return Copied(0, 0.0)
        async with self._moved:
            await self._moved.wait_for(lambda: bool(delta.refused) or not self._missing(artifact))
        if delta.refused:
            raise SyncRefusedError(delta.refused)
        count = sum(c.artifact == artifact and c.image == delta.image for c in self._copies)
        return Copied(count, time.monotonic() - begun)

    def _missing(self, artifact: str) -> bool:
        return any(
            c.container.artifact == artifact and self._behind(c) is not None
            for c in self._copies.values()
        )
