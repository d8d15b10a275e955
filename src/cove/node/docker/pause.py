"""The image of sandboxes: one tiny program that waits, made here, so that nothing is downloaded.

Written in C it would be::

    sigaction(SIGCHLD, {SIG_IGN, SA_NOCLDWAIT});     // orphans of the pod are reaped
    sigprocmask(SIG_BLOCK, {SIGINT, SIGTERM});
    while (sigtimedwait({SIGINT, SIGTERM}) < 0) ;
    exit(0);
"""

from __future__ import annotations

import io
import struct
import tarfile

__all__ = ["IMAGE", "archive"]

IMAGE = "cove.dev/pause:1"
_BASE = 0x400000
_HEADERS = 64 + 56
# The signals waited for, then the action for SIGCHLD; both programs end with them.
_DATA = struct.pack("<5Q", (1 << 1) | (1 << 14), 1, 2, 0, 0)
# GNU as of the above: (ELF machine, text).
_PROGRAMS = {
    "amd64": (
        62,
        "bf11000000488d354c00000031d241ba08000000b80d0000000f0531ff488d352c000000b80e0000"
        "000f05488d3d1e00000031f631d2b8800000000f0585c078ea31ffb83c0000000f05660f1f440000",
    ),
    "arm64": (
        183,
        "200280d2a1020010020080d2030180d2c81080d2010000d4000080d2a1010010020080d2e81080d2"
        "010000d420010010010080d2020080d2281180d2010000d460ffffb7000080d2a80b80d2010000d4",
    ),
}


def program(architecture: str) -> bytes:
    """A static ELF executable for amd64 or arm64; raises KeyError for others."""
    machine, text = _PROGRAMS[architecture]
    body = bytes.fromhex(text) + _DATA
    size = _HEADERS + len(body)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(ident, 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0),
    )
    # One segment, read and executed, that is the whole file.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + body


def archive(architecture: str) -> bytes:
    """A tar of the image's file system."""
    data = program(architecture)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()
