"""Bridge: from the threads of libfuse to the event loop that the tree lives on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Bridge"]

T = TypeVar("T")


class Bridge:
    """Runs coroutines on ``loop`` for other threads, each for at most ``timeout`` seconds.

    Once closed, it answers at once: whoever waits is told EIO, so that no thread of libfuse
    is left behind when its mount ends.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._lock = threading.Lock()
        self._waiting: set[concurrent.futures.Future[Any]] = set()
        self._closed = False

    def call(self, make: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """The coroutine's result; raises OSError, EIO for what is late or not wanted any more.

        Not for the loop's own thread, which would wait for itself.
        """
        with self._lock:
            if self._closed or self._loop.is_closed():
                raise OSError(errno.EIO, "the mount is ending")
            future = asyncio.run_coroutine_threadsafe(make(*arguments), self._loop)
            self._waiting.add(future)
        try:
            return future.result(self._timeout)
        except concurrent.futures.TimeoutError as e:
            future.cancel()
            raise OSError(errno.EIO, f"no answer within {self._timeout:g} s") from e
        except concurrent.futures.CancelledError as e:
            raise OSError(errno.EIO, "the mount is ending") from e
        finally:
            with self._lock:
                self._waiting.discard(future)

    def send(self, make: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Start a coroutine and do not wait for it; nothing happens once closed."""
        with self._lock:
            if not self._closed and not self._loop.is_closed():
                asyncio.run_coroutine_threadsafe(make(*arguments), self._loop)

    def close(self) -> None:
        """Tell all who wait that the mount ends."""
        with self._lock:
            self._closed = True
            waiting = tuple(self._waiting)
        for future in waiting:
            future.cancel()
