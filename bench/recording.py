"""The recorder's cost: the same requests through a client as it is, and through a recorded one.

Both are measured in turn, in small rounds, so that what else the machine does falls on both;
the figure is the median of the rounds' ratios.  The server is in the process, once called
directly and once over HTTPS.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable

from cove.client import Client, kubeconfig
from cove.engines.embedded import EmbeddedCluster, embedded
from cove.kube.gvk import GVR
from cove.testing.recording import RecordingTransport, ServerTap
from cove.testing.timeline import Timeline

__all__ = ["recording"]

MAPS = GVR("", "v1", "configmaps")
ROUNDS = 15
Work = Callable[[Client], Awaitable[object]]


async def _seconds(work: Work, client: Client, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        await work(client)
    return (time.perf_counter() - begun) / times


async def _compare(
    work: Work, plain: Client, recorded: Client, timeline: Timeline, times: int
) -> tuple[float, float]:
    """(µs of the plain one, the ratio)."""
    base, ratios = [], []
    for _ in range(ROUNDS):
        for call in timeline.calls:
            timeline.retract(call.id)
        gc.collect()
        # What memory was given back is fetched again before it is measured.
        await _seconds(work, plain, times // 4)
        before = await _seconds(work, plain, times)
        between = await _seconds(work, recorded, times)
        after = await _seconds(work, plain, times)
        base.append((before + after) / 2)
        ratios.append(between / base[-1])
    return statistics.median(base) * 1e6, statistics.median(ratios)


async def _ways(cluster: EmbeddedCluster, plain: Client, where: str) -> None:
    timeline, numbers = Timeline("bench"), itertools.count()
    recorded = RecordingTransport(plain.transport, timeline).client(plain)

    async def create(client: Client) -> object:
        doc = {"metadata": {"name": f"{where.split()[0]}-{next(numbers)}"}, "data": {"k": "v"}}
        return await client.create(MAPS, doc, "default")

    works: list[tuple[str, Work, int]] = [
        ("get ConfigMap", lambda client: client.get(MAPS, "read", "default"), 300),
        ("create ConfigMap", create, 100),
        ("list 200 ConfigMaps", lambda client: client.list(MAPS, "listed"), 20),
    ]
    for name, work, times in works:
        micros, ratio = await _compare(work, plain, recorded, timeline, times)
        print(f"  {where:<11} {name:<20} {micros:8.1f} µs, recorded × {ratio:.3f}")


async def recording() -> None:
    """Print what recording costs."""
    print("\nthe recorder: a request through a client, and through a recorded one")
    async with embedded(nodes=0, controllers=False) as cluster:
        client = cluster.client
        await client.create(
            MAPS, {"metadata": {"name": "read"}, "data": {"k": "v" * 300}}, "default"
        )
        await client.create(GVR("", "v1", "namespaces"), {"metadata": {"name": "listed"}})
        for i in range(200):
            await client.create(MAPS, {"metadata": {"name": f"m{i}"}, "data": {"k": "v"}}, "listed")
        await _ways(cluster, client, "in process")
        async with Client.connect(kubeconfig.load(str(cluster.kubeconfig_path))) as real:
            await _ways(cluster, real, "over HTTPS")
            timeline = Timeline("bench")

            async def get(client: Client) -> object:
                return await client.get(MAPS, "read", "default")

            base, ratios = [], []
            for _ in range(ROUNDS):
                before = await _seconds(get, real, 300)
                with ServerTap(cluster.api, timeline):
                    between = await _seconds(get, real, 300)
                after = await _seconds(get, real, 300)
                base.append((before + after) / 2)
                ratios.append(between / base[-1])
            micros, ratio = statistics.median(base) * 1e6, statistics.median(ratios)
            print(f"  over HTTPS  get, server tapped   {micros:8.1f} µs, tapped × {ratio:.3f}")
