"""The FUSE library: found, or why not; what mounts and unmounts.

Nothing of it is imported before somebody mounts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path
from types import ModuleType

from cove.files.mounting.errors import FuseMissingError, MountError

__all__ = ["is_mounted", "load", "repair", "unmount"]

DEVICE = Path("/dev/fuse")
# Seconds that a helper may take.
PATIENCE = 10.0
_INSTEAD = "`cove files ls`, `cat`, `find` and `export` need none"


def load() -> ModuleType:
    """mfusepy over libfuse; raises FuseMissingError with what to install."""
    linux = sys.platform == "linux"
    how = "apt-get install fuse3" if linux else "install macFUSE (https://macfuse.github.io)"
    if linux and "FUSE_LIBRARY_PATH" not in os.environ and find_library("fuse3"):
        # Where there are both, mfusepy would take libfuse 2.
        os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")
    try:
        import mfusepy
    except ImportError as e:
        raise FuseMissingError(
            f"mounting needs mfusepy: pip install 'cove[files]'; {_INSTEAD}"
        ) from e
    except (OSError, AttributeError) as e:
        raise FuseMissingError(
            f"there is no FUSE library on this machine ({e}): {how}; {_INSTEAD}"
        ) from e
    if linux:
        if not DEVICE.exists():
            raise FuseMissingError(
                f"there is no {DEVICE}: load the kernel's module with `modprobe fuse`, or give the "
                f"container the device (docker run --device {DEVICE} --cap-add SYS_ADMIN); {_INSTEAD}"
            )
        if os.geteuid() != 0 and _helper() is None:
            raise FuseMissingError(f"there is no fusermount3 on this machine: {how}; {_INSTEAD}")
    return mfusepy  # type: ignore[no-any-return]


def _helper() -> str | None:
    return shutil.which("fusermount3") or shutil.which("fusermount")


def is_mounted(path: Path) -> bool:
    """Whether something of ours is mounted at ``path``, alive or not."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return os.path.ismount(path)
    wanted = os.fspath(path)
    for line in lines:
        _, where, kind, *_ = line.split()
        if kind.startswith("fuse") and _unescaped(where) == wanted:
            return True
    return False


def _unescaped(text: str) -> str:
    """A field of /proc/self/mounts: blanks and the like are told in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def is_stale(path: Path) -> bool:
    """Whether the process behind a mount has gone without unmounting."""
    import errno

    try:
        path.stat()
    except OSError as e:
        return e.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def repair(path: Path) -> bool:
    """Unmount what a process that was killed left at ``path``; whether there was such a thing."""
    if not is_stale(path):
        return False
    unmount(path, lazy=True)
    return True


def unmount(path: Path, *, lazy: bool = False) -> None:
    """Unmount ``path``; ``lazy`` also while files of it are open.  Raises MountError."""
    said = ""
    for command in _commands(os.fspath(path), lazy):
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"{command[0]} did not end"
            continue
        if done.returncode == 0:
            return
        said = done.stderr.strip() or f"{command[0]} ended with {done.returncode}"
        if not is_mounted(path):
            return
    raise MountError(f"{path} cannot be unmounted: {said}")


def _commands(path: str, lazy: bool) -> list[list[str]]:
    commands = []
    helper = _helper()
    if helper is not None:
        commands.append([helper, "-u", *(["-z"] if lazy else []), "--", path])
    if os.geteuid() == 0 or sys.platform != "linux" or helper is None:
        option = [] if not lazy else (["-l"] if sys.platform == "linux" else ["-f"])
        commands.append(["umount", *option, path])
    return commands
