"""Logs: what a container wrote, as a file that can be read anywhere and grows while it is open.

The API tells a log as a stream without a length.  A :class:`Spool` writes that stream into a
file that has no name, as far as it is read and a bit ahead, so that any range can be read
and memory does not matter.  Who has read up to the end and asks for more is given what the
container writes from then on: the log is followed by a stream until the file is closed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cove.client._client import error_of, path_of
from cove.files.errors import FileError, file_error, too_large
from cove.files.paths import PREVIOUS, TIMESTAMPS
from cove.kube.gvk import GVR
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.client import Client

__all__ = ["LIMIT", "Spool", "containers", "has_previous"]

Doc = dict[str, Any]
PODS = GVR("", "v1", "pods")
# Bytes fetched ahead of who reads.
AHEAD = 8 * 1024 * 1024
# Bytes of a log at most; then reading it fails with EFBIG.
LIMIT = 16 * 1024**3
# How much of the beginning tells whether a log is still the same one.
HEAD = 4096


def containers(pod: Mapping[str, Any]) -> list[str]:
    """The containers that write logs: init containers, sidecars, containers, ephemeral ones."""
    spec = pod.get("spec") or {}
    initial = spec.get("initContainers") or ()
    sidecars = [c["name"] for c in initial if c.get("restartPolicy") == "Always"]
    return [
        *(c["name"] for c in initial if c["name"] not in sidecars),
        *sidecars,
        *(c["name"] for c in spec.get("containers") or ()),
        *(c["name"] for c in spec.get("ephemeralContainers") or ()),
    ]


def has_previous(pod: Mapping[str, Any]) -> list[str]:
    """The containers that ran before and ended: their earlier log can be read."""
    status = pod.get("status") or {}
    ended = {
        s["name"]
        for field in ("initContainerStatuses", "containerStatuses")
        for s in status.get(field) or ()
        if s.get("restartCount") and (s.get("lastState") or {}).get("terminated")
    }
    return [name for name in containers(pod) if name in ended]


class Spool:
    """One log, as far as it was fetched.  Close it: the stream ends, the file goes.

    ``changed`` is called when there is more.  Reading raises FileError.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        namespace: str,
        pod: str,
        container: str,
        variant: str,
        *,
        limit: int = LIMIT,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.size = 0
        # How many have it open.
        self.handles = 0
        self._client = client
        self._url = path_of(PODS, namespace, pod, "log")
        self._query = {"container": container}
        if variant == PREVIOUS:
            self._query["previous"] = "true"
        elif variant == TIMESTAMPS:
            self._query["timestamps"] = "true"
        self._follows = variant != PREVIOUS
        self._limit = limit
        self._changed = changed
        # close() closes it.
        self._file = tempfile.TemporaryFile(prefix="cove-log-", buffering=0)  # noqa: SIM115
        self._wanted = 0
        self._more = asyncio.Event()
        self._grown = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: FileError | None = None
        self._at_end = self._told_end = False
        self._task = asyncio.create_task(self._fetch(), name=f"log {path}")
        self._following: asyncio.Task[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether all that was written by the time of the first read is here."""
        return self._ended.is_set()

    @property
    def followed(self) -> bool:
        """Whether it grows as the container writes."""
        return self._following is not None and not self._following.done()

    async def close(self) -> None:
        """End the streams and let the file go."""
        tasks = [t for t in (self._task, self._following) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._file.close()

    async def settle(self, seconds: float) -> int:
        """How long the log is; after ``seconds``, how long it is at least.

        What cannot be read has no length.
        """
        self._want(self._limit)
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass
        self.poke()
        return self.size

    def poke(self) -> None:
        """Somebody looks at an open log whose end was read: from now on tell it as it grows."""
        if (
            self._at_end
            and self.handles
            and self.complete
            and self._follows
            and self._error is None
            and self._following is None
        ):
            self._following = asyncio.create_task(self._follow(), name=f"follow {self.path}")

    async def read(self, offset: int, size: int) -> bytes:
        """What is there from ``offset`` on, at most ``size`` bytes; b"" at the end."""
        end = offset + size
        self._want(end + AHEAD)
        while self.size < end and not self.complete:
            self._grown.clear()
            await self._grown.wait()
        if self._error is not None and self.size <= offset:
            raise FileError(self._error.errno or errno.EIO, self.path, self._error.reason)
        data = os.pread(self._file.fileno(), size, offset)
        if data or not self.complete:
            self._at_end = self._at_end or offset + len(data) >= self.size
            return data
        # cat reads to the end, is told that it is the end, and leaves; who comes again waits
        # for more.
        if self._told_end:
            self.poke()
        self._at_end = self._told_end = True
        return data

    def _want(self, end: int) -> None:
        if end > self._wanted:
            self._wanted = end
            self._more.set()

    def _put(self, chunk: bytes) -> None:
        cut = self._limit - self.size
        view = memoryview(chunk)[:cut]
        while view:
            written = os.pwrite(self._file.fileno(), view, self.size)
            self.size += written
            view = view[written:]
        self._grown.set()
        self._changed()
        if len(chunk) > cut:
            raise too_large(self.path, self._limit)

    def _stream(self, **more: str) -> Any:
        # text/plain is refused with 406: the log is sent as it is, whatever it is.
        headers = {"Accept": "*/*", "User-Agent": self._client.user_agent}
        return self._client.transport.stream(
            "GET", self._url, query=urlencode({**self._query, **more}), headers=headers
        )

    async def _fetch(self) -> None:
        """Up to the end that the log has now, never far ahead of who reads."""
        try:
            async with self._stream() as stream:
                await _check(stream)
                async for chunk in stream.chunks:
                    self._put(chunk)
                    while self.size >= self._wanted:
                        self._more.clear()
                        await self._more.wait()
        except (CoveError, OSError) as e:
            self._error = file_error(e, self.path)
        finally:
            self._ended.set()
            self._grown.set()
            self._changed()

    async def _follow(self) -> None:
        """From the end on.  The API knows no offsets: what is here already comes once more."""
        skip = self.size
        head = os.pread(self._file.fileno(), min(HEAD, skip), 0)
        begin = b""
        try:
            async with self._stream(follow="true") as stream:
                await _check(stream)
                async for chunk in stream.chunks:
                    if head:
                        begin += chunk
                        same = begin.startswith(head) or head.startswith(begin)
                        if same and len(begin) < len(head):
                            continue
                        if not same:
                            # Another log than before: the container's was rotated.
                            self._begin_anew()
                            skip = 0
                        chunk, head = begin, b""
                    cut = min(skip, len(chunk))
                    skip -= cut
                    if cut < len(chunk):
                        self._put(chunk[cut:])
            # The container has ended: there will be no more.
            self._follows = False
        except FileError as e:
            self._error = e
        except (CoveError, OSError):
            # Whoever looks next tries again: an API server comes back.
            self._following = None

    def _begin_anew(self) -> None:
        os.ftruncate(self._file.fileno(), 0)
        self.size = 0


async def _check(stream: Any) -> None:
    if stream.status < 400:
        return
    raise error_of(stream.status, b"".join([chunk async for chunk in stream.chunks]))
