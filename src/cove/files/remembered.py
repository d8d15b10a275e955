"""What is remembered: answers for a moment, rendered files while there is room."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Generic, TypeVar

from cove.files.following import MOMENT

__all__ = ["Moments", "Rendered", "young"]

K = TypeVar("K")
V = TypeVar("V")


def young(when: float) -> bool:
    """Whether a monotonic time is not longer ago than a moment."""
    return time.monotonic() - when < MOMENT


class Moments(Generic[K, V]):
    """Values that are forgotten after a moment."""

    def __init__(self) -> None:
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, None if it was put too long ago or never."""
        known = self._kept.get(key)
        return known[1] if known is not None and young(known[0]) else None

    def put(self, key: K, value: V) -> None:
        """Remember, and drop what is too old."""
        self._kept[key] = (time.monotonic(), value)
        self._kept.move_to_end(key)
        while not young(next(iter(self._kept.values()))[0]):
            self._kept.popitem(last=False)


class Rendered:
    """Files by (uid, version, file, …), the ones used longest ago dropped; for any thread.

    ``limit`` is in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> bytes | None:
        """The file, None if it is not here."""
        with self._lock:
            data = self._kept.get(key)
            if data is not None:
                self._kept.move_to_end(key)
            return data

    def put(self, key: tuple[str, ...], data: bytes) -> None:
        """Keep a file; not one of an object without uid or version: nothing says it is the same."""
        if not all(key[:2]):
            return
        with self._lock:
            old = self._kept.pop(key, b"")
            self._kept[key] = data
            self._size += len(data) - len(old)
            while self._size > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)
