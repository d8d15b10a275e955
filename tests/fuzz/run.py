"""``make fuzz``: many requests that nobody would send, and how much memory they leave in use."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.fuzz.fuzzing import Fault, batch, operations, prepare, wire

from cove.engines.embedded import embedded

BATCH = 1000
# A request in so many goes over a socket, as bytes.
BYTES = 20
# What the process may grow by after its first tenth: caches fill, nothing else does.
GROWTH = 96


def resident() -> float:
    """MiB of this process's memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1024**2


async def run(requests: int, seed: int) -> int:
    """Send them; the exit code."""
    begun = time.monotonic()
    total: dict[int, int] = {}
    first = 0.0
    async with embedded(
        nodes=0,
        controllers=False,
        disable_admission=["ServiceAccount"],
        history=2000,
        history_mib=8,
    ) as cluster:
        await prepare(cluster.client)
        known = await operations(cluster.client)
        print(f"{len(known)} operations, seed {seed}", flush=True)
        sent = faults = 0
        while sent < requests:
            async with cluster.fork() as fork:
                try:
                    answered = await batch(fork, known, seed, BATCH)
                    more = await wire(cluster, seed, BATCH // BYTES)
                except Fault as e:
                    faults += 1
                    print(f"FAULT {e}", flush=True)
                    answered, more = {}, {}
            for found in (answered, more):
                for status, count in found.items():
                    total[status] = total.get(status, 0) + count
            sent += BATCH + BATCH // BYTES
            seed += 1
            if not first and sent >= requests / 10:
                first = resident()
            if seed % 10 == 0:
                print(f"{sent:>8,} sent, {resident():.0f} MiB", flush=True)
        grown = resident() - first
    took = time.monotonic() - begun
    told = ", ".join(f"{status}: {count:,}" for status, count in sorted(total.items()))
    print(f"{sent:,} requests in {took:.0f} s, {faults} faults, {grown:+.0f} MiB after a tenth")
    print(told)
    if grown > GROWTH:
        print(f"the process grew by more than {GROWTH} MiB")
    return 1 if faults or grown > GROWTH else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="of the first batch"
    )
    given = parser.parse_args()
    # What the server logs of a fault is in the fault, too.
    logging.disable(logging.WARNING)
    return asyncio.run(run(given.requests, given.seed))


if __name__ == "__main__":
    sys.exit(main())
