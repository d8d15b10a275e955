"""What BuildKit tells of a build through Docker's API, as lines.  Pure.

Each message is protobuf in base64: ``StatusResponse`` of moby/buildkit's control API, of
which vertexes (what is done) and logs (what it says) matter here.

Source: ``api/services/control/control.proto`` of github.com/moby/buildkit
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

__all__ = ["TRACE", "Trace"]

TRACE = "moby.buildkit.trace"
_VERTEXES, _LOGS = 1, 3
_NAME, _CACHED, _COMPLETED, _ERROR = 3, 4, 6, 7
_MESSAGE = 4


class Trace:
    """The trace of one build; each step is told once."""

    def __init__(self) -> None:
        self._told: set[bytes] = set()

    def lines(self, aux: Any) -> list[str]:
        """What a message adds; nothing for what is none."""
        try:
            message = b64decode(str(aux), validate=True)
            return list(self._lines(message))
        except (binascii.Error, ValueError, IndexError):
            return []

    def _lines(self, message: bytes) -> Iterator[str]:
        for number, value in _fields(message):
            if number == _VERTEXES and isinstance(value, bytes):
                yield from self._vertex(dict(_fields(value)))
            elif number == _LOGS and isinstance(value, bytes):
                said = dict(_fields(value)).get(_MESSAGE, b"")
                if isinstance(said, bytes):
                    yield from said.decode(errors="replace").splitlines()

    def _vertex(self, vertex: dict[int, bytes | int]) -> Iterator[str]:
        name = vertex.get(_NAME, b"")
        if not isinstance(name, bytes) or name.startswith(b"[internal]"):
            return
        error = vertex.get(_ERROR, b"")
        if isinstance(error, bytes) and error:
            yield f"{name.decode(errors='replace')}: {error.decode(errors='replace')}"
        elif _COMPLETED in vertex and name not in self._told:
            self._told.add(name)
            yield name.decode(errors="replace") + (" (cached)" if vertex.get(_CACHED) else "")


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The numbers and values of a message; raises ValueError, IndexError for what is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
        elif kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
