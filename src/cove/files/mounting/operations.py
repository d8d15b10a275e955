"""Operations: what the kernel asks, answered by a tree.

They run on threads of libfuse.  What the tree knows already is answered there; for the rest
they wait for its event loop, through the bridge.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cove.files.following import MOMENT
from cove.files.paths import join
from cove.files.values import Attributes, Content, Listed, OpenFile

if TYPE_CHECKING:
    from types import ModuleType

    from cove.files.mounting.bridge import Bridge
    from cove.files.tree import Tree

__all__ = ["Operations", "changed_paths", "make_session"]

_MODES = {
    "directory": stat.S_IFDIR | 0o555,
    "file": stat.S_IFREG | 0o444,
    "link": stat.S_IFLNK | 0o777,
}
_LIST_PLUS, _FILL_PLUS = 1, 2
# The kernel asks for names with attributes always, not only when it thinks that it pays.
_PLUS, _PLUS_AUTO = 1 << 13, 1 << 14
_BLOCK = 512


class Operations:
    """The callbacks of one mount.

    ``began`` is called when the kernel has made the connection, ``ending`` before libfuse
    lets go of it.
    """

    use_ns = True
    # Whoever has a file open is told by its handle, not by its path.
    flag_nopath = True
    flag_nullpath_ok = True

    def __init__(
        self,
        tree: Tree,
        bridge: Bridge,
        began: Callable[[], None],
        ending: Callable[[], None],
    ) -> None:
        self.tree = tree
        self.bridge = bridge
        self._began = began
        self._ending = ending
        self._open: dict[int, OpenFile] = {}
        self._paths: dict[int, str] = {}
        self._listings: dict[int, list[Listed]] = {}
        self._numbers = itertools.count(1)
        self.uid, self.gid = os.getuid(), os.getgid()

    def init_with_config(self, connection: Any, config: Any) -> None:
        """Say what the kernel may keep, and for how long."""
        if connection is not None and connection.capable & _PLUS:
            connection.want = (connection.want | _PLUS) & ~_PLUS_AUTO
        if config is not None:
            config.use_ino = 1
            config.entry_timeout = config.attr_timeout = MOMENT
            config.negative_timeout = 0.0
            # Each open file is one version of the object: pages would be shared among them.
            config.direct_io = 1
            config.kernel_cache = config.auto_cache = 0
        self._began()

    def destroy(self, path: str) -> None:
        """The mount has ended."""
        self._ending()

    def attributes(self, path: str) -> Attributes:
        """What ``path`` is."""
        return self.tree.peek(path) or self.bridge.call(self.tree.lookup, path)

    def listed(self, path: str) -> list[Listed]:
        """What is in a directory."""
        known = self.tree.peek_list(path)
        return self.bridge.call(self.tree.readdir, path) if known is None else known

    def path_of(self, number: int) -> str:
        """Of an open file."""
        return self._paths[number]

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """As a dictionary, for libfuse 2."""
        a = self.attributes(path)
        return {
            "st_mode": _MODES[a.kind],
            "st_ino": a.inode,
            "st_nlink": 2 if a.kind == "directory" else 1,
            "st_size": a.size,
            "st_blocks": -(-a.size // _BLOCK),
            "st_uid": self.uid,
            "st_gid": self.gid,
            "st_mtime": a.mtime,
            "st_ctime": a.mtime,
            "st_atime": a.mtime,
        }

    def fill(self, st: Any, a: Attributes) -> None:
        """Write attributes into a ``struct stat``."""
        st.st_ino = a.inode
        st.st_mode = _MODES[a.kind]
        st.st_nlink = 2 if a.kind == "directory" else 1
        st.st_size = a.size
        st.st_blocks = -(-a.size // _BLOCK)
        st.st_blksize = 4096
        st.st_uid = self.uid
        st.st_gid = self.gid
        seconds, rest = divmod(a.mtime, 1_000_000_000)
        for name in ("st_mtimespec", "st_ctimespec", "st_atimespec"):
            time = getattr(st, name)
            time.tv_sec, time.tv_nsec = seconds, rest

    def opendir(self, path: str) -> int:
        """A number by which the directory is known while it is open."""
        number = next(self._numbers)
        self._paths[number] = path
        return number

    def readdir(self, path: str | None, fh: int) -> list[str]:
        """Names alone, for libfuse 2."""
        entries = self.listed(self.path_of(fh))
        return [".", "..", *(entry.name for entry in entries)]

    def entries(self, fh: int, offset: int) -> list[Listed]:
        """What is in an open directory: listed when it is read from the start, kept till the end."""
        if offset == 0 or fh not in self._listings:
            here = [Listed(name, "directory", 0) for name in (".", "..")]
            self._listings[fh] = [*here, *self.listed(self.path_of(fh))]
        return self._listings[fh]

    def releasedir(self, path: str | None, fh: int) -> int:
        """Nobody has it open any more."""
        self._listings.pop(fh, None)
        self._paths.pop(fh, None)
        return 0

    def readlink(self, path: str) -> str:
        """Where a link leads."""
        return self.bridge.call(self.tree.readlink, path)

    def open(self, path: str, info: Any) -> int:
        """Open for reading; writes are refused with EROFS."""
        if info.flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT):
            raise OSError(errno.EROFS, "files are read-only")
        known = self.tree.peek_content(path)
        opened = self.bridge.call(self.tree.open, path) if known is None else Content(known)
        number = next(self._numbers)
        self._open[number] = opened
        self._paths[number] = path
        info.fh = number
        return 0

    def read(self, path: str | None, size: int, offset: int, info: Any) -> bytes:
        """A part of an open file."""
        opened = self._open[info.fh]
        if isinstance(opened, Content):
            return opened.data[offset : offset + size]
        return self.bridge.call(opened.read, offset, size)

    def release(self, path: str | None, info: Any) -> int:
        """Nobody has it open any more."""
        opened = self._open.pop(info.fh, None)
        self._paths.pop(info.fh, None)
        if opened is not None and not isinstance(opened, Content):
            self.bridge.send(opened.close)
        return 0

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """One extended attribute.

        For what no file of ours ever has (ACLs, labels) the answer is ENOTSUP, after which
        ``ls`` does not ask for it again for each of ten thousand files.
        """
        if not name.startswith("user."):
            raise OSError(errno.ENOTSUP, "there are no such attributes")
        found = self.bridge.call(self.tree.xattrs, path).get(name)
        if found is None:
            raise OSError(getattr(errno, "ENODATA", getattr(errno, "ENOATTR", 93)), name)
        return found

    def listxattr(self, path: str) -> list[str]:
        """The names of the extended attributes."""
        return list(self.bridge.call(self.tree.xattrs, path))

    def statfs(self, path: str) -> dict[str, int]:
        """What ``df`` says: nothing is free, nothing is counted."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}


def make_session(mfusepy: ModuleType) -> type[Any]:
    """mfusepy's FUSE, which answers without dictionaries and lists with attributes."""
    base: Any = mfusepy.FUSE

    class Session(base):  # type: ignore[misc]  # loaded when somebody mounts
        def getattr_fuse_3(self, path: bytes | None, buffer: Any, info: Any) -> int:
            operations: Operations = self.operations
            if path is None:
                name = operations.path_of(info.contents.fh)
            else:
                name = path.decode(self.encoding, self.errors)
            operations.fill(buffer.contents, operations.attributes(name))
            return 0

        def readdir_fuse_3(
            self, path: bytes, buffer: Any, filler: Any, offset: int, info: Any, flags: int
        ) -> int:
            # By offsets, a buffer at a time: only so libfuse passes attributes on.
            operations: Operations = self.operations
            entries = operations.entries(info.contents.fh, offset)
            st = mfusepy.c_stat()
            plus = _FILL_PLUS if flags & _LIST_PLUS else 0
            for number in range(offset, len(entries)):
                entry = entries[number]
                if entry.attributes is not None and plus:
                    operations.fill(st, entry.attributes)
                else:
                    st.st_mode, st.st_ino = _MODES[entry.kind], entry.inode
                filled = plus if entry.attributes is not None else 0
                name = entry.name.encode(self.encoding, self.errors)
                if filler(buffer, name, st, number + 1, filled):
                    break
            return 0

    return Session


def changed_paths(scope: str, names: set[str], name: str, files: tuple[str, ...]) -> list[str]:
    """The paths of an object that the kernel may remember, by each name of its type."""
    folders = [join(join(scope, type_), name) for type_ in names]
    return [*folders, *(join(folder, file) for folder in folders for file in files)]
