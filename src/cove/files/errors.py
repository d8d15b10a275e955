"""Errors of files: what an API server says, as errno; every one is an OSError.

::

    401, 403              EACCES     not allowed
    404, a name that is none  ENOENT
    429                   EAGAIN     asked to wait
    413, longer than a limit  EFBIG
    no answer, 5xx, late  EIO
    other 4xx             EINVAL     such as the log of a container that has not started
    a write               EROFS
"""

from __future__ import annotations

import errno
import os

from cove.kube.status import CoveError, StatusError

__all__ = [
    "FileError",
    "code_of",
    "file_error",
    "is_a_directory",
    "not_a_directory",
    "not_found",
    "too_large",
]

_CODES = {
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    # A token of a page, or a version, that the server has forgotten: asking again helps.
    410: errno.EAGAIN,
    413: errno.EFBIG,
    429: errno.EAGAIN,
}


class FileError(CoveError, OSError):
    """An access that failed: ``errno`` says how, ``reason`` in the server's words why.

    ``filename`` is the path.
    """

    def __init__(self, code: int, path: str, reason: str = "") -> None:
        OSError.__init__(self, code, os.strerror(code), path)
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.filename}: {self.strerror}"
        return f"{text} ({self.reason})" if self.reason else text


def not_found(path: str, reason: str = "") -> FileError:
    """ENOENT."""
    return FileError(errno.ENOENT, path, reason)


def not_a_directory(path: str) -> FileError:
    """ENOTDIR."""
    return FileError(errno.ENOTDIR, path)


def is_a_directory(path: str) -> FileError:
    """EISDIR."""
    return FileError(errno.EISDIR, path)


def too_large(path: str, limit: int) -> FileError:
    """EFBIG: more than ``limit`` bytes."""
    return FileError(errno.EFBIG, path, f"it is longer than {limit} bytes")


def code_of(error: BaseException) -> int:
    """The errno of what a client raised; EIO for what is not the server's word."""
    if isinstance(error, FileError):
        return error.errno or errno.EIO
    if isinstance(error, StatusError):
        found = _CODES.get(error.code)
        if found is not None:
            return found
        return errno.EINVAL if 400 <= error.code < 500 else errno.EIO
    return errno.EIO


def file_error(error: BaseException, path: str) -> FileError:
    """What a client raised, for ``path``; a FileError stays as it is."""
    if isinstance(error, FileError):
        return error
    return FileError(code_of(error), path, str(error) or type(error).__name__)
