"""The store: revisions, snapshots, forks, the window of events, the journal."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cove.client import SystemClock
from cove.server.store import CorruptStoreError, Expired, Journal, Store, Watcher, Window
from cove.server.store import _store as store_module


def put(store: Store, name: str, text: str = "x", resource: str = "things") -> int:
    data = text.encode()
    return store.put(resource, "ns", name, f"uid-{name}", lambda _r: data).revision


def delete(store: Store, name: str, resource: str = "things") -> int:
    return store.delete(resource, "ns", name, lambda _r: b"gone").revision


def content(store: Store) -> dict[str, bytes]:
    return {s.name: s.data for s in store.state.list("things")}


class Forks(RuleBasedStateMachine):
    """Whatever is written to a store or its fork, the other keeps what it had."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.model: dict[str, bytes] = {}
        self.fork: Store | None = None
        self.fork_model: dict[str, bytes] = {}

    names = st.sampled_from("abcde")
    texts = st.text("xyz", max_size=3)

    @rule(name=names, text=texts)
    def write(self, name: str, text: str) -> None:
        put(self.store, name, text)
        self.model[name] = text.encode()

    @rule(name=names)
    def remove(self, name: str) -> None:
        if name in self.model:
            delete(self.store, name)
            del self.model[name]

    @rule()
    def split(self) -> None:
        self.fork = self.store.fork()
        self.fork_model = dict(self.model)

    @rule(name=names, text=texts)
    def write_fork(self, name: str, text: str) -> None:
        if self.fork is not None:
            put(self.fork, name, text)
            self.fork_model[name] = text.encode()

    @rule(back=st.integers(0, 5))
    def return_to(self, back: int) -> None:
        revision = max(self.store.revision - back, self.store.oldest)
        self.store.restore(self.store.at(revision))
        self.model = content(self.store)

    @invariant()
    def what_is_listed_is_what_is_there(self) -> None:
        for store in (self.store, self.fork):
            if store is not None:
                for namespace in (None, "ns", "nowhere"):
                    expected = store.state.list("things", namespace)
                    assert store.listed(store.state, "things", namespace) == expected
                then = store.at(store.oldest)
                assert store.listed(then, "things") == then.list("things")

    @invariant()
    def each_has_its_own(self) -> None:
        assert content(self.store) == self.model
        if self.fork is not None:
            assert content(self.fork) == self.fork_model


TestForks = Forks.TestCase


@given(
    writes=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40),
    window=st.integers(4, 50),
    checkpoint=st.integers(1, 9),
)
@settings(deadline=None)
def test_every_revision_in_the_window_can_be_had_as_it_was(
    writes: list[tuple[str, bool]], window: int, checkpoint: int
) -> None:
    """``at(r)`` is the content right after the write that made revision r, or it is told that
    this revision is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "CHECKPOINT", checkpoint)
        store = Store(window=Window(events=window))
        snapshots = {store.revision: content(store)}
        for name, removes in writes:
            if removes and store.state.get("things", "ns", name) is not None:
                delete(store, name)
            else:
                put(store, name, str(store.revision))
            snapshots[store.revision] = content(store)
        for revision, expected in snapshots.items():
            if revision < store.oldest:
                with pytest.raises(Expired):
                    store.at(revision)
            else:
                state = store.at(revision)
                assert state.revision == revision
                assert {s.name: s.data for s in state.list("things")} == expected
        assert store.revision - store.oldest >= min(len(writes), window // 2)


def test_old_revisions_expire() -> None:
    """What left the window is told as expired, with the oldest revision there is."""
    store = Store(window=Window(events=10))
    for i in range(50):
        put(store, f"n{i}")
    with pytest.raises(Expired) as caught:
        store.since(2, "things")
    assert caught.value.oldest > 2
    assert len(store.since(store.revision - 1, "things")) == 1


def test_lists_are_in_the_order_of_keys() -> None:
    """As etcd orders them: the namespace's slash counts."""
    store = Store()
    for namespace in ("a", "a-b", "b"):
        store.put("things", namespace, "x", "u", lambda _r: b"{}")
    assert [s.namespace for s in store.state.list("things")] == ["a-b", "a", "b"]


async def test_a_watcher_that_does_not_read_is_closed_and_the_others_go_on() -> None:
    """The queue is bounded; overrunning it ends that one watch."""
    store = Store()
    slow, quick = Watcher(limit=5), Watcher(limit=100)
    store.subscribe("things", slow)
    store.subscribe("things", quick)
    for i in range(20):
        put(store, f"n{i}")
    assert slow.closed
    assert slow.overrun
    assert len(quick.drain()) == 20
    assert not quick.closed


def index(_resource: str, _data: bytes) -> tuple[str, None, None]:
    return "uid", None, None


async def test_a_journal_brings_back_objects_and_the_revision(tmp_path: Path) -> None:
    """Close, open: the same objects, and revisions go on where they were."""
    path = tmp_path / "store.db"
    journal = Journal.open(path)
    store = Store(journal.load(index), journal)
    put(store, "a", "1")
    put(store, "b", "2")
    last = delete(store, "a")
    await store.durable(last)
    journal.close()

    again = Journal.open(path)
    reopened = Store(again.load(index), again)
    assert content(reopened) == {"b": b"2"}
    assert reopened.revision == last
    assert put(reopened, "c") == last + 1
    await reopened.durable(last + 1)
    again.close()


async def test_watchers_see_a_write_only_after_its_commit(tmp_path: Path) -> None:
    """What is told is on disk."""
    journal = Journal.open(tmp_path / "store.db")
    store = Store(journal.load(index), journal)
    watcher = Watcher()
    store.subscribe("things", watcher)
    revision = put(store, "a")
    assert watcher.drain() == []
    await store.durable(revision)
    await asyncio.wait_for(watcher.wait(None, SystemClock()), 5)
    assert [e.revision for e in watcher.drain()] == [revision]
    journal.close()


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but long enough to be taken for one" * 20, b""],
    ids=["garbage", "foreign"],
)
def test_a_corrupt_store_is_refused_by_name_and_kept(tmp_path: Path, content: bytes) -> None:
    """Refuse to start, name the file, leave it as it is."""
    path = tmp_path / "store.db"
    if content:
        path.write_bytes(content)
    else:
        foreign = sqlite3.connect(path)
        foreign.execute("CREATE TABLE t (x)")
        foreign.commit()
        foreign.close()
    before = path.read_bytes()
    with pytest.raises(CorruptStoreError, match=r"store\.db"):
        Journal.open(path)
    assert path.read_bytes() == before
