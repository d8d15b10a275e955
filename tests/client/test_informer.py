"""Informers: a collection in memory that follows the server, whatever happens to the watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.client import Answer, Client, Informer, Informers, ManualClock, Stream
from cove.client.informer import by_owner
from cove.kube import status
from cove.kube.gvk import GVR

Doc = dict[str, Any]
CONFIG_MAPS = GVR("", "v1", "configmaps")


class Scripted:
    """A server of one collection whose watches the test feeds and breaks."""

    def __init__(self, *lists: list[Doc]) -> None:
        self.lists = list(lists)
        self.revision = 10
        self.watches: asyncio.Queue[asyncio.Queue[bytes | None]] = asyncio.Queue()
        self.queries: list[str] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        items = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        doc = {"items": items, "metadata": {"resourceVersion": str(self.revision)}}
        return Answer(200, {}, orjson.dumps(doc))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        self.queries.append(query)
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        await self.watches.put(lines)

        async def chunks() -> AsyncIterator[bytes]:
            while (line := await lines.get()) is not None:
                yield line

        yield Stream(200, {}, chunks())

    async def close(self) -> None:
        return None


def config_map(name: str, revision: int, uid: str = "", **labels: str) -> Doc:
    return {
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": uid or name,
            "resourceVersion": str(revision),
            "labels": labels,
        }
    }


def line(type: str, obj: Doc) -> bytes:
    return orjson.dumps({"type": type, "object": obj}) + b"\n"


def told(log: list[tuple[str, str]], changed: asyncio.Event) -> Any:
    def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        kind = "gone" if new is None else "new" if old is None else "changed"
        log.append((kind, (new or old or {})["metadata"]["name"]))
        changed.set()

    return handle


class Following:
    """An informer of a scripted server, and what its handler was told."""

    def __init__(self, *lists: list[Doc]) -> None:
        self.server = Scripted(*lists)
        self.clock = ManualClock()
        self.log: list[tuple[str, str]] = []
        self.changed = asyncio.Event()
        self.informer = Informer(Client(self.server), CONFIG_MAPS, clock=self.clock)
        self.informer.add_handler(told(self.log, self.changed))

    async def until(self, count: int) -> None:
        while len(self.log) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 5)


async def test_it_lists_then_follows() -> None:
    it = Following([config_map("a", 5)])
    async with it.informer:
        watch = await it.server.watches.get()
        assert it.informer.synced.is_set()
        await watch.put(line("MODIFIED", config_map("a", 11)) + line("ADDED", config_map("b", 12)))
        await watch.put(line("DELETED", config_map("a", 13)))
        await it.until(4)
    assert it.log == [("new", "a"), ("changed", "a"), ("new", "b"), ("gone", "a")]
    assert it.informer.resource_version == "13"
    assert "resourceVersion=10" in it.server.queries[0]


async def test_a_line_may_come_in_pieces() -> None:
    it = Following([])
    async with it.informer:
        watch = await it.server.watches.get()
        whole = line("ADDED", config_map("a", 11))
        for index in range(0, len(whole), 7):
            await watch.put(whole[index : index + 7])
        await it.until(1)
    assert it.log == [("new", "a")]


async def test_a_watch_that_ends_is_resumed_where_it_was() -> None:
    it = Following([])
    async with it.informer:
        watch = await it.server.watches.get()
        await watch.put(line("BOOKMARK", {"metadata": {"resourceVersion": "20"}}))
        await watch.put(None)
        await it.server.watches.get()
    assert "resourceVersion=20" in it.server.queries[1]
    assert it.log == []


async def test_after_gone_it_lists_again_and_tells_the_difference() -> None:
    first = [config_map("stays", 1), config_map("goes", 2), config_map("changes", 3)]
    second = [
        config_map("stays", 1),
        config_map("changes", 14),
        config_map("comes", 15),
    ]
    it = Following(first, second)
    async with it.informer:
        watch = await it.server.watches.get()
        await watch.put(line("ERROR", status.expired("too old resource version").body))
        await it.server.watches.get()
    assert it.log[:3] == [("new", "stays"), ("new", "goes"), ("new", "changes")]
    assert sorted(it.log[3:]) == [("changed", "changes"), ("gone", "goes"), ("new", "comes")]


async def test_another_object_under_the_same_name_is_told_as_two() -> None:
    it = Following([config_map("a", 1, uid="one")], [config_map("a", 9, uid="two")])
    async with it.informer:
        watch = await it.server.watches.get()
        await watch.put(line("ERROR", status.expired("too old").body))
        await it.server.watches.get()
    assert it.log == [("new", "a"), ("gone", "a"), ("new", "a")]


async def test_indexes_follow_changes() -> None:
    it = Following([config_map("a", 1, team="x")])
    it.informer.add_index("team", lambda o: [o["metadata"]["labels"].get("team", "")])
    async with it.informer:
        watch = await it.server.watches.get()
        assert [o["metadata"]["name"] for o in it.informer.indexed("team", "x")] == ["a"]
        await watch.put(line("MODIFIED", config_map("a", 2, team="y")))
        await it.until(2)
        assert it.informer.indexed("team", "x") == []
        assert it.informer.count("team", "y") == 1
        await watch.put(line("DELETED", config_map("a", 3, team="y")))
        await it.until(3)
    assert it.informer.indexed("team", "y") == []


async def test_a_late_handler_hears_of_what_is_there() -> None:
    it = Following([config_map("a", 1)])
    async with it.informer:
        await it.server.watches.get()
        late: list[tuple[str, str]] = []
        it.informer.add_handler(told(late, asyncio.Event()))
    assert late == [("new", "a")]


async def test_informers_are_shared_by_what_they_watch() -> None:
    async with Informers(Client(Scripted([]))) as informers:
        whole = informers.informer(CONFIG_MAPS)
        assert informers.informer(CONFIG_MAPS) is whole
        assert informers.informer(CONFIG_MAPS, metadata_only=True) is whole
        assert informers.informer(CONFIG_MAPS, namespace="n") is not whole
        await informers.synced()


def test_owners_index_lists_all_owners() -> None:
    obj = {"metadata": {"ownerReferences": [{"uid": "a"}, {"uid": "b"}]}}
    assert list(by_owner(obj)) == ["a", "b"]


names = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3), max_size=5)


@settings(deadline=None)
@given(st.lists(names, min_size=1, max_size=5))
def test_what_a_handler_is_told_adds_up_to_the_last_list(lists: list[dict[str, int]]) -> None:
    informer = Informer(Client(Scripted([])), CONFIG_MAPS)
    seen: dict[str, str] = {}

    def handle(old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        name = (new or old or {})["metadata"]["name"]
        assert (old is not None) == (name in seen)
        if new is None:
            del seen[name]
        else:
            assert seen.get(name) != new["metadata"]["resourceVersion"]
            seen[name] = new["metadata"]["resourceVersion"]

    informer.add_handler(handle)
    for content in lists:
        informer._replace([config_map(n, revision) for n, revision in content.items()])
    assert seen == {n: str(r) for n, r in lists[-1].items()}
    assert {o["metadata"]["name"] for o in informer} == lists[-1].keys()
