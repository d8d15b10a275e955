"""Which cluster a command is about, and how long it works on it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cove.client import Client, Connection, kubeconfig

__all__ = ["connection", "in_pod", "until_signalled", "with_client"]


def in_pod() -> bool:
    """Whether this process runs in a pod that may talk to the API."""
    return (
        bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        and (kubeconfig.SERVICE_ACCOUNT / "token").exists()
    )


def connection(file: Path | None = None, context: str | None = None) -> Connection:
    """A context's connection; where nothing is said, in a pod, the service account's.

    Raises KubeconfigError.
    """
    if file is None and context is None and not os.environ.get("KUBECONFIG") and in_pod():
        return kubeconfig.in_cluster()
    return kubeconfig.load(None if file is None else str(file), context=context)


def with_client(
    given: Connection, work: Callable[[Client], Coroutine[Any, Any, None]]
) -> Coroutine[Any, Any, None]:
    """Work with a client that ends with it."""

    async def run() -> None:
        async with Client.connect(given) as client:
            await work(client)

    return run()


def until_signalled(work: Coroutine[Any, Any, None]) -> int:
    """Run to the end, or until SIGINT (130) or SIGTERM (0): then it is cancelled and awaited.

    The second signal cancels what ends slowly.  Raises what ``work`` raises.
    """

    async def run() -> int:
        loop, seen = asyncio.get_running_loop(), list[signal.Signals]()
        task = loop.create_task(work, name="work")

        def stop(number: signal.Signals) -> None:
            seen.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            await task
        except asyncio.CancelledError:
            if not seen:
                raise
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return 130 if signal.SIGINT in seen else 0

    try:
        import uvloop
    except ImportError:
        return asyncio.run(run())
    return uvloop.run(run())
