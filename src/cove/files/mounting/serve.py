"""The process behind a mount: serves until it is told to end or somebody unmounts."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from cove.files.mounting.mounted import mount
from cove.files.mounting.process import MountOptions
from cove.kube.status import CoveError

__all__ = ["main", "run", "serve"]

log = logging.getLogger("cove.files")


async def serve(options: MountOptions, ready: Callable[[str], None]) -> int:
    """Mount until a signal or an unmount; the exit code, 130 for an interrupt.

    ``ready`` is told what is mounted.  Raises CoveError for what keeps it from being so.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[int] = asyncio.Queue()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, told.put_nowait, name)
    try:
        async with options.source.tree(**options.tree) as tree:
            async with mount(options.path, tree, allow_other=options.allow_other) as mounted:
                server = options.source.connection().server
                where = options.source.unix_socket or options.source.context or server
                log.info("%s is mounted at %s", where, options.path)
                ready(where)
                signalled = asyncio.create_task(told.get())
                ended = asyncio.create_task(mounted.ended.wait())
                await asyncio.wait((signalled, ended), return_when=asyncio.FIRST_COMPLETED)
                for task in (signalled, ended):
                    task.cancel()
                number = signalled.result() if signalled.done() else 0
        log.info("%s is unmounted", options.path)
        return 130 if number == signal.SIGINT else 0
    finally:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(name)


# Lists of thousands of objects make ten thousands of dictionaries, none of which is part of a
# cycle: looking for cycles as often as Python does by default takes as long as reading them.
GARBAGE = (100_000, 20, 100)


def run(options: MountOptions, ready: Callable[[str], None]) -> int:
    """:func:`serve` on an event loop of its own, the fast one where there is one."""
    gc.set_threshold(*GARBAGE)
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve(options, ready))


def main(descriptor: int, record: Path) -> int:
    """What the background process does: reads options, takes the lock, tells how it went."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    options = MountOptions.from_json(sys.stdin.read())
    with os.fdopen(descriptor, "w") as pipe:
        held = open(record, "a+")  # noqa: SIM115  # until the process ends
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pipe.write(f"{options.path} is mounted already: `cove files unmount {options.path}`")
            return 1

        def ready(where: str) -> None:
            doc = {"path": options.path, "pid": os.getpid(), "told": where}
            held.truncate(0)
            held.write(json.dumps(doc))
            held.flush()
            pipe.write("ready")
            pipe.close()

        try:
            code = run(options, ready)
        except CoveError as e:
            if not pipe.closed:
                pipe.write(str(e))
            log.error("%s", e)
            code = 1
        record.unlink(missing_ok=True)
        held.close()
        return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
