"""What was acknowledged survives ``kill -9``, again and again."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from command import Cove

from cove.client import Client, UnreachableError, kubeconfig
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")
# `make kill` asks for 100.
ROUNDS = int(os.environ.get("COVE_KILL_ROUNDS", "20"))
WRITERS = 4
# Enough for batches to form, few enough for twenty rounds.
MOST_WRITES = 120


@dataclass
class Remembered:
    """What writers were told: name → (resourceVersion, content), None once deleted.

    ``unsure`` are names whose last write was never answered: it may have happened or not.
    """

    objects: dict[str, tuple[int, str] | None] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    highest: int = 0
    acknowledged: int = 0

    def told(self, name: str, version: int, content: str | None) -> None:
        """A write was acknowledged."""
        self.objects[name] = None if content is None else (version, content)
        self.unsure.discard(name)
        self.highest = max(self.highest, version)
        self.acknowledged += 1


async def write(
    client: Client, mine: str, seen: Remembered, rng: random.Random, enough: asyncio.Event, at: int
) -> None:
    """Create, update and delete objects of one's own until the server is gone."""
    known: dict[str, str] = {}
    number = 0
    while True:
        number += 1
        content = f"{mine}-{number}"
        fresh = not known or rng.random() < 0.5
        name = f"{mine}-{number}" if fresh else rng.choice(list(known))
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"content": content},
        }
        delete = not fresh and rng.random() < 0.4
        try:
            if fresh:
                answer = await client.create(CONFIG_MAPS, body)
            elif delete:
                answer = await client.delete(CONFIG_MAPS, name, "default")
            else:
                answer = await client.update(CONFIG_MAPS, body)
        except UnreachableError:
            seen.unsure.add(name)
            return
        version = int((answer.get("metadata") or {}).get("resourceVersion") or 0)
        seen.told(name, version, None if delete else content)
        if delete:
            del known[name]
        else:
            known[name] = content
        if seen.acknowledged >= at:
            enough.set()


async def one_round(path: Path, kill: Callable[[], None], number: int, seen: Remembered) -> None:
    """Write with several clients, kill in the middle."""
    rng = random.Random(number)
    at = seen.acknowledged + rng.randint(1, MOST_WRITES)
    enough = asyncio.Event()
    connection = kubeconfig.load(str(path))
    async with Client.connect(connection) as client, asyncio.TaskGroup() as writers:
        for writer in range(WRITERS):
            mine = f"r{number}w{writer}"
            writers.create_task(
                write(client, mine, seen, random.Random(f"{number}/{writer}"), enough, at)
            )
        await enough.wait()
        await asyncio.to_thread(kill)


async def check(path: Path, seen: Remembered) -> None:
    """Nothing acknowledged is lost, nothing deleted is back, versions go on upwards."""
    async with Client.connect(kubeconfig.load(str(path))) as client:
        listed = await client.list(CONFIG_MAPS, "default")
        marker = await client.create(
            CONFIG_MAPS,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"generateName": "marker-", "namespace": "default"},
            },
        )
    found = {
        o["metadata"]["name"]: (int(o["metadata"]["resourceVersion"]), o["data"]["content"])
        for o in listed.items
        if "data" in o and "content" in o["data"]
    }
    for name, expected in seen.objects.items():
        if name in seen.unsure:
            continue
        assert found.get(name) == expected, name
    extra = found.keys() - seen.objects.keys() - seen.unsure
    assert not extra, "objects that nobody wrote"
    assert int(listed.resource_version) >= seen.highest
    assert int(marker["metadata"]["resourceVersion"]) > seen.highest
    seen.highest = int(marker["metadata"]["resourceVersion"])
    # What was unsure is known from here on.
    for name in seen.unsure:
        seen.objects[name] = found.get(name)
    seen.unsure.clear()


async def test_nothing_acknowledged_is_lost(cove: Cove) -> None:
    seen = Remembered()
    path = cove.folder() / "kubeconfig"
    await asyncio.to_thread(cove, "up", "--nodes", "0")
    for number in range(ROUNDS):
        await one_round(path, cove.kill, number, seen)
        await asyncio.to_thread(cove, "up")
        await check(path, seen)

    assert seen.acknowledged > ROUNDS * 10
    assert None in seen.objects.values()
