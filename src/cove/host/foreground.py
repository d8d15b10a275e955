"""What ``cove up APP`` does: run an application until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from typing import Protocol

from cove.host.app import App
from cove.host.board import BlockedError
from cove.host.console import Console
from cove.host.host import Host
from cove.host.states import Status

__all__ = ["Watcher", "run"]

DONE, FAILED, INTERRUPTED = 0, 1, 130


class Watcher(Protocol):
    """Who is told how the start goes; each returns at once."""

    async def state(self, status: Status) -> None:
        """A resource changed."""

    def ready(self, statuses: list[Status]) -> None:
        """Everything that starts by itself is healthy or has completed; how all is now."""

    def blocked(self, why: str) -> None:
        """Something of that will not be; the application goes on."""


async def run(
    app: App,
    *,
    engine: str | None = None,
    container_engine: str | None = None,
    context: str | None = None,
    json: bool = False,
    watcher: Watcher | None = None,
) -> int:
    """Run ``app`` until a signal, ``cove down`` or the end of all it does; the exit code.

    The first Ctrl-C (or SIGTERM) ends it in reverse order, a second one without mercy.
    ``json`` prints a document for each line and state.  Raises AppError if it cannot be
    started at all.
    """
    host = app.run(engine=engine, container_engine=container_engine, context=context)
    stopping = asyncio.Event()
    code = DONE
    loop = asyncio.get_running_loop()
    with Console(list(app.resources), json=json) as console, ExitStack() as signals:

        def interrupted(number: signal.Signals) -> None:
            nonlocal code
            if stopping.is_set():
                console.say("ending at once")
                host.hurry.set()
                return
            if number is signal.SIGINT:
                code = INTERRUPTED
            console.say("stopping; Ctrl-C once more ends everything at once")
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupted, number)
            signals.callback(loop.remove_signal_handler, number)
        async with host:
            host.logs.listen(console.line)
            host.board.follow(console.state)
            if watcher is not None:
                host.board.follow(watcher.state)
            for status in host.board:
                await console.state(status)
            tasks = {
                asyncio.create_task(stopping.wait(), name="a signal"),
                asyncio.create_task(host.down.wait(), name="cove down"),
                asyncio.create_task(host.board.until(lambda: host.idle), name="the end of all"),
            }
            settled = asyncio.create_task(_settled(host, console, watcher), name="readiness")
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*tasks, settled):
                    task.cancel()
                await asyncio.gather(*tasks, settled, return_exceptions=True)
            if not stopping.is_set() and not host.down.is_set():
                code = FAILED if any(status.failed for status in host.board) else DONE
            stopping.set()
    return code


async def _settled(host: Host, console: Console, watcher: Watcher | None) -> None:
    """Tell when all is ready, with URLs; or why it will not be, as long as it is not."""
    try:
        await host.ready()
    except BlockedError as e:
        console.say(str(e))
        if watcher is not None:
            watcher.blocked(str(e))
        # Somebody may mend it and start it again.
        await host.board.until(lambda: not host.missing())
    console.say(f"{host.app.name} is ready")
    console.table(host.board)
    if watcher is not None:
        watcher.ready(list(host.board))
