"""Events that are told at one instant, and over and over."""

from __future__ import annotations

import asyncio
import re

from cove.client import Client, ManualClock, Recorder
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR

EVENTS = GVR("", "v1", "events")
INVOLVED = {"kind": "Pod", "apiVersion": "v1", "name": "p", "namespace": "default", "uid": "1"}


async def written(client: Client, recorder: Recorder, count: int) -> list[dict[str, object]]:
    """The events as soon as there are so many occurrences."""
    async with asyncio.timeout(5):
        while True:
            found = (await client.list(EVENTS, "default")).items
            if recorder.quiet and sum(e["count"] for e in found) >= count:
                return found
            await asyncio.sleep(0)


async def test_a_clock_that_stands_still_names_every_event_anew(api: EmbeddedCluster) -> None:
    async with Recorder(api.client, "tester", clock=ManualClock()) as recorder:
        for reason in ("A", "B", "C"):
            recorder.event(INVOLVED, "Normal", reason, "m")
        found = await written(api.client, recorder, 3)
    assert {e["reason"] for e in found} == {"A", "B", "C"}
    names = [e["metadata"]["name"] for e in found]  # type: ignore[index]
    assert all(re.fullmatch(r"p\.[0-9a-f]{16}", n) for n in names)


async def test_the_same_again_is_counted(api: EmbeddedCluster) -> None:
    async with Recorder(api.client, "tester", clock=ManualClock()) as recorder:
        for _ in range(3):
            recorder.event(INVOLVED, "Normal", "A", "m")
        (event,) = await written(api.client, recorder, 3)
    assert event["count"] == 3
