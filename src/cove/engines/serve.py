"""The background process of one cluster: ``python -m cove.engines.serve NAME FD SETTINGS``.

It reads its certificates from standard input (and ends if nobody gives it any), writes ``ready`` to the descriptor once it
serves, or what went wrong; SIGTERM ends it cleanly.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack

from cove.engines.credentials import credentials_from_json
from cove.engines.door import open_door
from cove.engines.embedded import EmbeddedCluster
from cove.engines.home import ClusterFolder, Settings
from cove.kube.status import CoveError

__all__ = ["main"]

log = logging.getLogger("cove")


async def _serve(folder: ClusterFolder, settings: Settings, ready: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    given = sys.stdin.buffer.read()
    if not given:
        log.info("whoever started this gave up before it could serve")
        return
    credentials = credentials_from_json(given)
    async with (
        EmbeddedCluster(folder.name, settings, folder=folder, credentials=credentials) as cluster,
        AsyncExitStack() as doors,
    ):
        if settings.door:
            await open_door(cluster, doors)
        cluster.publish()
        log.info("cluster %s serves on %s", folder.name, cluster.url)
        # What was made so far lives as long as the process: never look at it again.  Objects
        # are kept as bytes, not as cycles, so that looking seldom costs little memory.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 100)
        _say(ready, "ready")
        await stopping.wait()
        log.info("cluster %s is stopping", folder.name)


def _say(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode())
    os.close(descriptor)


def main(name: str, ready: int, text: str) -> int:
    """Run until told to stop; the exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Whoever waits for the end of this pipe does not wait for the programs started here.
    os.set_inheritable(ready, False)
    folder = ClusterFolder(name)
    # Held until the process is gone: who waits for the lock waits for that.
    if folder.acquire() is None:
        _say(ready, "taken")
        return 0
    settings = Settings.from_json(text)
    try:
        try:
            import uvloop

            uvloop.run(_serve(folder, settings, ready))
        except ImportError:
            asyncio.run(_serve(folder, settings, ready))
    except CoveError as e:
        log.error("%s", e)
        _say(ready, str(e))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
