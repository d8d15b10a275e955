"""A mount in this process: entered it serves, left it is unmounted.

libfuse runs on a thread of its own and calls from threads of its own; the tree stays on the
event loop.  Who reads the mounted files must not block that loop: it would wait for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from cove.files import paths
from cove.files.mounting import library
from cove.files.mounting.bridge import Bridge
from cove.files.mounting.errors import MountError
from cove.files.mounting.operations import Operations, changed_paths, make_session
from cove.files.tree import NAMESPACE_TYPE

if TYPE_CHECKING:
    from cove.files.following import Change
    from cove.files.tree import Tree

__all__ = ["TIMEOUT", "Mounted", "mount"]

log = logging.getLogger("cove.files")

# Seconds until an access that is not answered fails with EIO.
TIMEOUT = 30.0
# Threads that wait for answers at most; a server that is slow to answer holds up so many.
# Seconds until a mount that is in use is left to whoever uses it.
PATIENCE = 10.0
THREADS = 64
IDLE_THREADS = 8
_SIGNALS = ("SIGHUP", "SIGINT", "SIGTERM")
_WHY = {
    1: "libfuse does not know an option",
    2: "libfuse was given no directory",
    3: "libfuse cannot be set up",
    4: "the kernel refuses the mount; what fusermount3 says of it is on standard error",
    7: "libfuse's loop failed",
}


def mount(
    path: str | os.PathLike[str],
    tree: Tree,
    *,
    allow_other: bool = False,
    timeout: float = TIMEOUT,
) -> Mounted:
    """``async with mount("/mnt/k8s", tree) as mounted``: the tree as a directory.

    ``allow_other`` lets other users of the machine read it; ``timeout`` is how many seconds
    an access may take.  Entering raises :class:`FuseMissingError` and :class:`MountError`.
    """
    return Mounted(Path(path), tree, allow_other=allow_other, timeout=timeout)


class Mounted:
    """A tree that is mounted.  ``ended`` is set when somebody unmounts it."""

    def __init__(self, path: Path, tree: Tree, *, allow_other: bool, timeout: float) -> None:
        self.path = Path(os.path.abspath(path))
        self.tree = tree
        self.ended = asyncio.Event()
        self._allow_other = allow_other
        self._timeout = timeout
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._invalid: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._fuse: ctypes.c_void_p | None = None

    async def __aenter__(self) -> Self:
        mfusepy = library.load()
        await asyncio.to_thread(self._check)
        loop = asyncio.get_running_loop()
        began = asyncio.Event()
        self._bridge = Bridge(loop, self._timeout)
        self._library = mfusepy._libfuse
        self._thread = threading.Thread(
            target=self._run,
            args=(mfusepy, loop, lambda: loop.call_soon_threadsafe(began.set)),
            name=f"mount {self.path}",
            daemon=True,
        )
        self._thread.start()
        waits = [asyncio.create_task(began.wait()), asyncio.create_task(self.ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self._stop()
            raise
        finally:
            for wait in waits:
                wait.cancel()
        if self.ended.is_set():
            await asyncio.to_thread(self._thread.join)
            raise MountError(f"{self.path} cannot be mounted: {self._reason()}")
        _take_signals_back()
        self.tree.following.on_change.append(self._changed)
        self.tree.spools.on_growth.append(self._invalid.put)
        return self

    async def __aexit__(self, *exc: object) -> None:
        with contextlib.suppress(ValueError):
            self.tree.following.on_change.remove(self._changed)
        with contextlib.suppress(ValueError):
            self.tree.spools.on_growth.remove(self._invalid.put)
        await self._stop()

    def _check(self) -> None:
        """Make sure that there is an empty directory; unmount what a killed process left."""
        if library.repair(self.path):
            log.info("%s: what a process that ended had left mounted is unmounted", self.path)
        if not self.path.is_dir():
            raise MountError(f"{self.path} is no directory: make it with mkdir -p {self.path}")
        if library.is_mounted(self.path):
            raise MountError(
                f"something is mounted at {self.path} already: `cove files unmount {self.path}`"
            )
        if any(self.path.iterdir()):
            raise MountError(f"{self.path} is not empty: what is in it would be hidden")
        if self._allow_other and os.geteuid() != 0 and sys.platform == "linux":
            try:
                text = Path("/etc/fuse.conf").read_text()
            except OSError:
                text = ""
            if "user_allow_other" not in (line.strip() for line in text.splitlines()):
                raise MountError(
                    "other users may only be let in where /etc/fuse.conf has user_allow_other"
                )

    def _reason(self) -> str:
        error = self._error
        if isinstance(error, RuntimeError) and error.args and error.args[0] in _WHY:
            return _WHY[error.args[0]]
        return "libfuse ended at once" if error is None else f"{type(error).__name__}: {error}"

    def _run(self, mfusepy: ModuleType, loop: asyncio.AbstractEventLoop, began: Any) -> None:
        """libfuse's thread."""
        teller = threading.Thread(target=self._tell_kernel, name="invalidate", daemon=True)

        def connected() -> None:
            context = mfusepy._libfuse.fuse_get_context().contents
            self._fuse = ctypes.c_void_p(context.fuse)
            teller.start()
            began()

        def ending() -> None:
            self._bridge.close()
            self._invalid.put(None)
            if teller.is_alive():
                teller.join()
            self._fuse = None

        options: dict[str, Any] = {"fsname": "cove", "subtype": "cove", "ro": True}
        if self._allow_other:
            options["allow_other"] = True
        if (mfusepy.fuse_version_major, mfusepy.fuse_version_minor) >= (3, 12):
            options |= {"max_threads": THREADS, "max_idle_threads": IDLE_THREADS}
        operations = Operations(self.tree, self._bridge, connected, ending)
        try:
            make_session(mfusepy)(
                operations, os.fspath(self.path), raw_fi=True, foreground=True, **options
            )
        except BaseException as e:
            self._error = e
        finally:
            self._bridge.close()
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.ended.set)

    # -- what the kernel is told

    def _changed(self, change: Change) -> None:
        type_ = change.type
        scope = f"/{paths.NAMESPACES}/{change.namespace}" if change.namespace else "/cluster"
        names = {type_.shown, type_.gvr.resource, type_.qualified}
        for path in changed_paths(scope, names, change.name, paths.FILES):
            self._invalid.put(path)
        if type_.gvr == NAMESPACE_TYPE.gvr:
            self._invalid.put(f"/{paths.NAMESPACES}/{change.name}")

    def _tell_kernel(self) -> None:
        """A thread of its own: the kernel may wait for a request of ours before it forgets."""
        invalidate = getattr(self._library, "fuse_invalidate_path", None)
        while (path := self._invalid.get()) is not None:
            if invalidate is not None and self._fuse is not None:
                invalidate(self._fuse, path.encode(errors="surrogateescape"))

    # -- the end

    async def _stop(self) -> None:
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._bridge.close()
        try:
            await asyncio.to_thread(library.unmount, self.path)
        except MountError as e:
            # Somebody has a file open or stands in a directory: libfuse is told to end, which
            # cuts them off.
            log.info("%s; whoever uses it is cut off", e)
            await asyncio.to_thread(self._cut)
        await asyncio.to_thread(thread.join, PATIENCE)
        if thread.is_alive():
            # Unmounted by others while it was in use: it ends with the last who uses it.
            log.warning("%s is unmounted, and still in use", self.path)

    def _cut(self) -> None:
        if self._fuse:
            self._library.fuse_exit(self._fuse)
            # Its threads look up at the next request.
            with contextlib.suppress(OSError):
                os.statvfs(self.path)
        with contextlib.suppress(MountError):
            library.unmount(self.path, lazy=True)


def _take_signals_back() -> None:
    """libfuse takes signals that nobody handles to end its loop; they are the program's."""
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            number = getattr(signal, name)
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
