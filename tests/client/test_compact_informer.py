"""An informer that keeps JSON: the same to who reads it, and what is read is the reader's own."""

from __future__ import annotations

import asyncio

from cove.client import Informer
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR

CONFIG_MAPS = GVR("", "v1", "configmaps")


def doc(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {"app": data.get("app", "x")}}, "data": data}


async def test_it_tells_and_finds_the_same(api: EmbeddedCluster) -> None:
    for n in range(7):
        await api.client.create(
            CONFIG_MAPS, doc(f"m{n}", app="even" if n % 2 == 0 else "odd"), "default"
        )
    told: dict[bool, list[tuple[str | None, str | None]]] = {True: [], False: []}
    async with (
        Informer(api.client, CONFIG_MAPS, namespace="default", compact=True, page_size=2) as small,
        Informer(api.client, CONFIG_MAPS, namespace="default") as plain,
    ):
        for informer in (small, plain):
            informer.add_index("app", lambda o: [o["data"].get("app", "")])
            seen = told[informer is small]
            informer.add_handler(
                lambda old, new, *, initial, seen=seen: seen.append(  # type: ignore[misc]
                    (
                        old and old["data"].get("app", ""),
                        new and new["data"].get("app", ""),
                    )
                )
            )
            await informer.synced.wait()
        await api.client.patch(CONFIG_MAPS, "m1", {"data": {"app": "even"}}, "default")
        await api.client.delete(CONFIG_MAPS, "m0", "default")
        async with asyncio.timeout(10):
            while len(told[True]) < 9 or len(told[False]) < 9:
                await asyncio.sleep(0.005)

        assert sorted(map(str, told[True])) == sorted(map(str, told[False]))
        assert sorted(map(str, small)) == sorted(map(str, plain))
        assert sorted(o["metadata"]["name"] for o in small.indexed("app", "even")) == sorted(
            o["metadata"]["name"] for o in plain.indexed("app", "even")
        )
        assert small.get("default", "m0") is None
        first = small.get("default", "m1")
        assert first is not None
        first["data"]["app"] = "changed by its reader"
        again = small.get("default", "m1")
        assert again is not None
        assert again["data"]["app"] == "even"
