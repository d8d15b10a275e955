"""Bridge: the event loop that clusters of a test run live on, in a thread of its own.

Tests are plain functions, or run on event loops of their own that come and go; clusters stay.
Everything of cove happens on the bridge's loop: a plain function waits for it, an
asynchronous one awaits it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from cove.kube.status import CoveError

__all__ = ["Bridge", "WrongThreadError"]

# pytest shows a test where it failed, not where that was found.
__tracebackhide__ = True

T = TypeVar("T")
# Seconds that what was interrupted has to end.
ENDING = 10.0


class WrongThreadError(CoveError):
    """A call that waits was made where what it waits for has to run."""


class Bridge:
    """``with Bridge() as bridge: bridge.call(coroutine)``; leaving ends the thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Bridge:
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="cove-testing", daemon=True
        )
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._loop is not None, "the bridge was not entered"
        assert self._thread is not None, "the bridge was not entered"
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        loop = self._loop = _new_loop()
        asyncio.set_event_loop(loop)
        loop.call_soon(started.set)
        try:
            loop.run_forever()
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=ENDING))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; only to be touched from its own thread, or thread-safely."""
        assert self._loop is not None, "the bridge was not entered"
        return self._loop

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run it on the loop, in the context of the caller."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result.  Who is interrupted meanwhile (Ctrl-C) leaves when it has been cancelled.

        Raises :class:`WrongThreadError` on the loop's own thread, where it would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise WrongThreadError(
                "this call waits for the cluster, and was made on the cluster's own thread: "
                "await it there, on `.aio`"
            )
        future = self.submit(work)
        try:
            return future.result()
        except (AssertionError, CoveError) as e:
            # How it came to that is said in words; the way through threads and loops is nobody's concern.
            raise e.with_traceback(None) from e.__cause__
        except BaseException:
            if not future.done():
                future.cancel()
                with contextlib.suppress(BaseException):
                    concurrent.futures.wait([future], timeout=ENDING)
            raise

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, for a coroutine on any loop."""
        return await asyncio.wrap_future(self.submit(work))

    def do(self, work: Callable[[], T]) -> T:
        """The result of a plain function that has to run on the loop's thread."""

        async def run() -> T:
            return work()

        return self.call(run())


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
