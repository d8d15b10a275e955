"""Stores: typed objects from memory, indexes, and writes that the watch has not told of yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_world import Cache, operating

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.operator import Operator
from cove.operator.runtime.stores import Stores, is_newer


@pytest.fixture
def op() -> Operator:
    made = Operator("cache-operator")

    @made.reconcile(Cache, indexes={"size": lambda cache: [str(cache.spec.size)]})
    async def keep(cache: Cache, stores: Stores) -> None:
        return None

    return made


async def test_objects_are_read_from_memory_and_found_by_indexes(
    api: EmbeddedCluster, op: Operator
) -> None:
    async with operating(api, op) as world:
        for name, size in (("a", 1), ("b", 2), ("c", 2)):
            await world.make(name, size, labels={"tier": "gold" if size == 2 else "none"})
        await world.quiet()
        store = world.runtime.stores.store(Cache)
        with api.faults.error(500):
            assert sorted(c.metadata.name for c in store) == ["a", "b", "c"]
            assert sorted(c.metadata.name for c in store.indexed("size", "2")) == ["b", "c"]
            assert [c.metadata.name for c in store.list("default", "tier=none")] == ["a"]
            assert store.list("kube-system") == []
            found = store.get("b", "default")
            assert found is not None
            found.spec.size = 99
            again = store.get("b", "default")
            assert again is not None
            assert again.spec.size == 2, "what is given out is the caller's own"


async def test_what_was_written_is_seen_until_the_watch_tells_more(
    api: EmbeddedCluster, op: Operator
) -> None:
    async with operating(api, op) as world:
        doc = await world.make("a", 1)
        await world.quiet()
        store = world.runtime.stores.store(Cache)
        ours = {
            **doc,
            "metadata": {**doc["metadata"], "resourceVersion": "9000000"},
            "spec": {"size": 7},
        }
        store.wrote(ours)
        found = store.get("a", "default")
        assert found is not None
        assert found.spec.size == 7
        old = {**doc, "spec": {"size": 5}}
        store.wrote(old)
        assert store.document("default/a") == ours, "an answer that is older than another is late"
        # A watch tells of a write that is newer still: it counts.
        for informer in store.informers:
            newer = {
                **ours,
                "metadata": {**ours["metadata"], "resourceVersion": "9000001"},
                "spec": {"size": 8},
            }
            informer._put("default/a", newer)
        found = store.get("a", "default")
        assert found is not None
        assert found.spec.size == 8
        assert not store._written


async def test_what_was_deleted_is_gone_at_once(api: EmbeddedCluster, op: Operator) -> None:
    async with operating(api, op) as world:
        await world.make("a")
        await world.quiet()
        store = world.runtime.stores.store(Cache)
        found = store.get("a", "default")
        assert found is not None
        assert isinstance(world.runtime.client, Client)
        with api.faults.stall_watches():
            api.faults.disconnect()
            assert await world.runtime.api.delete(found)
            assert store.get("a", "default") is None
            assert store.list() == []
        await world.quiet()
        assert store.get("a", "default") is None
        assert not await world.runtime.api.delete(found), "a second time it was gone already"


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_versions_that_are_numbers_are_compared_as_such(one: int, other: int) -> None:
    assert is_newer(str(one), str(other)) == (one > other)


def test_versions_that_are_none_are_taken_at_their_last_word() -> None:
    assert is_newer("b", "a")
    assert not is_newer("a", "a")
