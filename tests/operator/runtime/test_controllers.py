"""Controllers: what is called for what, how often, and in what order."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from operator_world import Cache, CacheStatus, ConfigMap, define, operating

from cove.client import ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.operator import (
    Change,
    Ctx,
    EntityError,
    InjectionError,
    ObjectMeta,
    Operator,
    Result,
    Retry,
    RetryError,
    TerminalError,
    Watch,
    any_of,
    generation_changed,
    info,
    labels_changed,
    requeue,
)

CONFIG_MAPS = GVR("", "v1", "configmaps")
EVENTS = GVR("", "v1", "events")


@pytest.fixture
def op() -> Operator:
    return Operator("cache-operator")


async def test_the_shortest_operator(api: EmbeddedCluster, op: Operator) -> None:
    seen: list[tuple[str, int]] = []

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        seen.append((cache.metadata.name, cache.spec.size))

    async with operating(api, op) as world:
        await world.make(size=1)
        await world.until(lambda: seen == [("a", 1)])
        await world.resize(2)
        await world.until(lambda: seen == [("a", 1), ("a", 2)])


async def test_events_are_told_apart(api: EmbeddedCluster, op: Operator) -> None:
    calls: list[str] = []

    @op.controller(Cache)
    class Caches:
        async def reconcile(self, cache: Cache) -> None:
            calls.append(f"reconcile {cache.spec.size}")

        async def status_modified(self, cache: Cache) -> None:
            calls.append(f"status {cache.status.ready}")

        async def deleted(self, cache: Cache) -> None:
            calls.append(f"deleted {cache.spec.size}")

    async with operating(api, op) as world:
        await world.make(size=1)
        await world.until(lambda: calls == ["reconcile 1"])
        status = {"status": {"ready": 4}}
        await world.client.patch(info(Cache).gvr, "a", status, "default", subresource="status")
        await world.until(lambda: calls[1:] == ["status 4"])
        metadata = {"metadata": {"finalizers": ["example.com/x"], "labels": {"a": "b"}}}
        await world.client.patch(info(Cache).gvr, "a", metadata, "default")
        await world.quiet()
        assert calls[2:] == [], "a finalizer or a label is no wish"
        await world.resize(3)
        await world.until(lambda: calls[2:] == ["reconcile 3"])
        await world.delete()
        await world.quiet()
        assert calls[3:] == [], "it is not gone before its last finalizer is"
        await world.client.patch(
            info(Cache).gvr, "a", {"metadata": {"finalizers": None}}, "default"
        )
        await world.until(lambda: calls[3:] == ["deleted 3"])


async def test_predicates_say_what_is_worth_it(api: EmbeddedCluster, op: Operator) -> None:
    seen: list[Any] = []

    @op.reconcile(Cache, predicate=any_of(generation_changed, labels_changed))
    async def keep(cache: Cache) -> None:
        seen.append(dict(cache.metadata.labels or {}))

    async with operating(api, op) as world:
        await world.make()
        await world.until(lambda: len(seen) == 1)
        await world.client.patch(
            info(Cache).gvr, "a", {"metadata": {"labels": {"x": "y"}}}, "default"
        )
        await world.until(lambda: seen == [{}, {"x": "y"}])
        annotated = {"metadata": {"annotations": {"x": "y"}}}
        await world.client.patch(info(Cache).gvr, "a", annotated, "default")
        await world.quiet()
        assert len(seen) == 2


async def test_selectors_are_the_servers(api: EmbeddedCluster, op: Operator) -> None:
    seen: list[str] = []

    @op.reconcile(Cache, label_selector="tier=gold", field_selector="metadata.name!=c")
    async def keep(cache: Cache) -> None:
        seen.append(cache.metadata.name)

    async with operating(api, op) as world:
        await world.make("a")
        await world.make("b", labels={"tier": "gold"})
        await world.make("c", labels={"tier": "gold"})
        await world.make("d", labels={"tier": "gold"})
        await world.until(lambda: len(seen) == 2)
        await world.quiet()
        assert sorted(seen) == ["b", "d"]
        (controller,) = world.runtime.controllers
        assert len(controller.store) == 2, "others are not even kept"


async def test_requeue_calls_again_for_the_same(api: EmbeddedCluster, op: Operator) -> None:
    clock = ManualClock()
    calls: list[Change] = []

    @op.reconcile(Cache)
    async def keep(cache: Cache, change: Change) -> Result | None:
        calls.append(change)
        return requeue(30, "not there yet") if len(calls) < 3 else None

    async with operating(api, op, clock=clock) as world:
        await world.make()
        await world.until(lambda: len(calls) == 1)
        clock.advance(29)
        await world.quiet()
        assert len(calls) == 1
        clock.advance(1)
        await world.until(lambda: len(calls) == 2)
        clock.advance(30)
        await world.until(lambda: len(calls) == 3)
        clock.advance(3600)
        await world.quiet()
        assert calls == [Change.RECONCILE] * 3


async def test_failures_are_tried_again_with_growing_delays_and_counted_per_key(
    api: EmbeddedCluster, op: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    attempts: list[int] = []
    retry = Retry(base=1, factor=2, jitter=0, limit=5)

    @op.reconcile(Cache, retry=retry)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 6:
            raise OSError("the disk is elsewhere")

    async with operating(api, op, clock=clock) as world:
        await world.make()
        await world.until(lambda: len(attempts) == 1)
        for number, delay in enumerate((1, 2, 4, 5, 5), 2):
            clock.advance(delay - 0.001)
            await world.quiet()
            assert len(attempts) == number - 1
            clock.advance(0.001)
            await world.until(lambda number=number: len(attempts) == number)  # type: ignore[misc]
        assert attempts == [1, 2, 3, 4, 5, 6]
        await world.resize(2)
        await world.until(lambda: attempts[-1] == 1)
    assert "OSError: the disk is elsewhere" in caplog.text
    assert "Traceback" in caplog.text


async def test_attempts_may_be_limited_and_a_change_begins_anew(
    api: EmbeddedCluster, op: Operator
) -> None:
    clock = ManualClock()
    calls: list[int] = []

    @op.reconcile(Cache, retry=Retry(attempts=4, jitter=0))
    async def keep(cache: Cache, ctx: Ctx) -> None:
        calls.append(ctx.attempt)
        raise ValueError("never")

    async with operating(api, op, clock=clock) as world:
        await world.make()
        for _ in range(10):
            await world.quiet()
            clock.advance(1000)
        assert calls == [1, 2, 3, 4, 5]
        await world.resize(2)
        await world.until(lambda: len(calls) == 6)
        assert calls[-1] == 1
        await world.quiet()
        events = (await world.client.list(EVENTS, "default")).items
        assert any("given up after 5 failures: never" in e["message"] for e in events)


async def test_a_terminal_error_is_not_tried_again(api: EmbeddedCluster, op: Operator) -> None:
    clock = ManualClock()
    calls: list[int] = []

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        calls.append(cache.spec.size)
        raise TerminalError("no cache has that size")

    async with operating(api, op, clock=clock) as world:
        await world.make(size=7)
        await world.until(lambda: calls == [7])
        clock.advance(10_000)
        await world.quiet()
        assert calls == [7]
        await world.resize(8)
        await world.until(lambda: calls == [7, 8])


async def test_not_yet_is_no_failure(api: EmbeddedCluster, op: Operator) -> None:
    clock = ManualClock()
    attempts: list[int] = []

    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 3:
            raise RetryError("the volume is being made", 5)

    async with operating(api, op, clock=clock) as world:
        await world.make()
        for _ in range(4):
            await world.quiet()
            clock.advance(5)
        assert attempts == [1, 1, 1]


async def test_what_a_server_asks_to_wait_is_waited(api: EmbeddedCluster, op: Operator) -> None:
    clock = ManualClock()
    calls: list[str] = []

    @op.reconcile(Cache, retry=Retry(base=0.1, jitter=0))
    async def keep(cache: Cache, ctx: Ctx) -> None:
        calls.append("")
        await ctx.client.get(CONFIG_MAPS, "kube-root-ca.crt", "default")

    with api.faults.error(429, verbs="get", resources="configmaps", retry_after=20, count=1):
        async with operating(api, op, clock=clock) as world:
            await world.make()
            await world.until(lambda: len(calls) == 1)
            clock.advance(19)
            await world.quiet()
            assert len(calls) == 1
            clock.advance(1)
            await world.until(lambda: len(calls) == 2)


async def test_one_object_is_worked_on_once_at_a_time_and_several_at_once(
    api: EmbeddedCluster, op: Operator
) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    gate = asyncio.Event()

    @op.reconcile(Cache, workers=3)
    async def keep(cache: Cache) -> None:
        name = cache.metadata.name
        running[name] += 1
        most[name] = max(most[name], running[name])
        most["all"] = max(most["all"], sum(running.values()))
        await gate.wait()
        running[name] -= 1

    async with operating(api, op) as world:
        for name in "abcd":
            await world.make(name)
        while most["all"] < 3:
            await asyncio.sleep(0.001)
        for size in range(2, 6):
            await world.resize(size)
        gate.set()
        await world.until(lambda: not sum(running.values()))
        await world.quiet()
    assert most["all"] == 3
    assert max(most[name] for name in "abcd") == 1


async def test_a_call_that_takes_too_long_is_a_failure(api: EmbeddedCluster, op: Operator) -> None:
    calls: list[int] = []

    @op.reconcile(Cache, timeout=0.05, retry=Retry(base=0.01, jitter=0))
    async def keep(cache: Cache) -> None:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(1000)

    async with operating(api, op) as world:
        await world.make()
        await world.until(lambda: len(calls) == 2)


async def revision(cluster: EmbeddedCluster) -> str:
    """How far the cluster is: whatever is written makes it another."""
    return (await cluster.client.list(CONFIG_MAPS)).resource_version


async def test_children_are_owned_applied_once_and_put_right(
    api: EmbeddedCluster, op: Operator
) -> None:
    reconciles: list[int] = []

    @op.controller(Cache, owns=[ConfigMap])
    class Caches:
        async def reconcile(self, cache: Cache, ctx: Ctx) -> None:
            reconciles.append(cache.spec.size)
            name = ObjectMeta(name=cache.metadata.name, labels={"app": "cache"})
            await ctx.apply(ConfigMap(metadata=name, data={"size": str(cache.spec.size)}))

    async with operating(api, op) as world:
        await world.make(size=3)
        await world.quiet()
        child = await world.client.get(CONFIG_MAPS, "a", "default")
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Cache", "a", True)
        assert child["metadata"]["managedFields"][0]["manager"] == "cache-operator"

        before = child["metadata"]["resourceVersion"]
        writes = await revision(api)
        (controller,) = world.runtime.controllers
        for _ in range(5):
            controller.add("default/a")
            await world.quiet()
        assert await revision(api) == writes, "a no-op is not sent"

        await world.client.patch(CONFIG_MAPS, "a", {"data": {"size": "9", "mine": "x"}}, "default")
        await world.quiet()
        child = await world.client.get(CONFIG_MAPS, "a", "default")
        assert child["data"] == {"size": "3", "mine": "x"}, "what others added beside it stays"
        assert child["metadata"]["resourceVersion"] != before

        await world.client.delete(CONFIG_MAPS, "a", "default")
        await world.quiet()
        assert (await world.client.get(CONFIG_MAPS, "a", "default"))["data"]["size"] == "3"


async def test_other_kinds_are_mapped(api: EmbeddedCluster, op: Operator) -> None:
    seen: list[str] = []

    @op.reconcile(
        Cache, watches=[Watch(ConfigMap, lambda m: [m.data["for"]] if "for" in m.data else [])]
    )
    async def keep(cache: Cache) -> None:
        seen.append(cache.metadata.name)

    async with operating(api, op) as world:
        await world.make("a")
        await world.make("b")
        await world.until(lambda: sorted(seen) == ["a", "b"])
        settings = {"metadata": {"name": "s"}, "data": {"for": "b"}}
        await world.client.create(CONFIG_MAPS, settings, "default")
        await world.until(lambda: len(seen) == 3)
        assert seen[-1] == "b"


async def test_a_reconcile_sees_what_the_last_one_wrote(api: EmbeddedCluster, op: Operator) -> None:
    """Watches are held up: what was written is known from the answer alone."""
    seen: list[tuple[int, str | None]] = []

    @op.controller(Cache, owns=[ConfigMap])
    class Caches:
        async def reconcile(self, cache: Cache, ctx: Ctx) -> Result | None:
            child = await ctx.get(ConfigMap, "a")
            seen.append((cache.status.seen, child.data["n"] if child else None))
            number = cache.status.seen + 1
            cache.status = CacheStatus(seen=number)
            await ctx.apply(ConfigMap(metadata=ObjectMeta(name="a"), data={"n": str(number)}))
            return requeue(0) if number < 5 else None

    await define(api.client, Cache)
    with api.faults.stall_watches():
        async with operating(api, op) as world:
            (controller,) = world.runtime.controllers
            controller.store.wrote(await world.make())
            controller.add("default/a")
            await world.until(lambda: len(seen) == 5)
    assert seen == [(0, None), (1, "1"), (2, "2"), (3, "3"), (4, "4")]


async def test_status_is_written_once_and_only_if_it_changed(
    api: EmbeddedCluster, op: Operator
) -> None:
    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        cache.status.ready = 1
        cache.status.ready = cache.spec.size
        cache.spec.size = 99  # a wish is not the operator's to change

    async with operating(api, op) as world:
        raw = await world.make(size=3)
        await world.quiet()
        found = await world.get()
        assert found["status"] == {"ready": 3, "seen": 0}
        assert found["spec"] == {"size": 3}
        assert int(found["metadata"]["resourceVersion"]) > int(raw["metadata"]["resourceVersion"])
        writes = await revision(api)
        (controller,) = world.runtime.controllers
        controller.add("default/a")
        await world.quiet()
        assert await revision(api) == writes


async def test_what_a_status_has_that_the_type_does_not_know_stays(
    api: EmbeddedCluster, op: Operator
) -> None:
    @op.reconcile(ConfigMap)
    async def nothing(_: ConfigMap) -> None:
        return None

    assert op.entities == [ConfigMap]

    other = Operator("other")

    @other.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        cache.status.ready = cache.spec.size

    async with operating(api, other) as world:
        await world.make(size=2)
        await world.quiet()
        await world.client.patch(
            info(Cache).gvr, "a", {"status": {"seen": 41}}, "default", subresource="status"
        )
        await world.resize(5)
        await world.quiet()
        assert (await world.get())["status"] == {"ready": 5, "seen": 41}


async def test_an_object_that_is_not_of_its_type_is_told_and_left(
    api: EmbeddedCluster, op: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    @op.reconcile(ConfigMap, retry=Retry(base=1000))
    async def keep(found: ConfigMap) -> None:
        seen.append(found.metadata.name)

    async with operating(api, op) as world:
        (controller,) = world.runtime.controllers
        broken = {
            "metadata": {
                "name": "bad",
                "namespace": "default",
                "resourceVersion": "999999",
                "uid": "u",
            },
            "data": {"a": 1},
        }
        controller.store.wrote(broken)
        controller.add("default/bad")
        await world.client.create(CONFIG_MAPS, {"metadata": {"name": "good"}}, "default")
        await world.until(lambda: "good" in seen)
        assert "bad" not in seen
    assert "data" in caplog.text


async def test_events_are_counted_and_never_fail_who_publishes(
    api: EmbeddedCluster, op: Operator
) -> None:
    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        ctx.event("Scaled", "to its size")
        ctx.warn("Small", "smaller than most")

    async with operating(api, op) as world:
        await world.make()
        for size in (2, 3):
            await world.quiet()
            await world.resize(size)
        while not world.runtime.publisher.quiet:
            await asyncio.sleep(0.01)
        await world.quiet()
        events = (await world.client.list(EVENTS, "default")).items
        scaled = [e for e in events if e["reason"] == "Scaled"]
        assert len(scaled) == 1, "the same again is counted"
        assert scaled[0]["count"] >= 2
        assert scaled[0]["involvedObject"]["kind"] == "Cache"
        assert {e["type"] for e in events} == {"Normal", "Warning"}
        with api.faults.error(500, verbs="create", resources="events"):
            await world.resize(4)
            await world.quiet()


async def test_publishers_may_be_made_beforehand(api: EmbeddedCluster, op: Operator) -> None:
    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        scaled, free = ctx.publisher("Scaled"), ctx.publisher("Moved", type="Warning")
        scaled("to its size")
        free("away", about=ConfigMap(metadata=ObjectMeta(name="other", namespace="default")))

    async with operating(api, op) as world:
        await world.make()
        await world.quiet()
        async with asyncio.timeout(10):
            while len(events := (await world.client.list(EVENTS, "default")).items) < 2:
                await asyncio.sleep(0.01)
    found = {(e["reason"], e["type"], e["involvedObject"]["name"]) for e in events}
    assert found == {("Scaled", "Normal", "a"), ("Moved", "Warning", "other")}


async def test_handlers_are_given_what_they_ask_for(api: EmbeddedCluster, op: Operator) -> None:
    ended: list[str] = []
    got: list[object] = []

    class Database:
        pass

    class Session:
        def __init__(self, database: Database) -> None:
            self.database = database

        async def __aenter__(self) -> Session:
            return self

        async def __aexit__(self, *exc: object) -> None:
            ended.append("session")

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def connect() -> Any:
        yield Database()
        ended.append("database")

    op.provide(Database, connect)
    op.provide(Session, lifetime="event")

    @op.controller(Cache)
    class Caches:
        def __init__(self, database: Database) -> None:
            self.database = database

        async def reconcile(self, cache: Cache, session: Session, log: Ctx) -> None:
            got.append((session.database is self.database, type(log).__name__))
            assert ended == []

    # Annotations of a test's own classes are resolved where they are.
    Caches.__init__.__annotations__["database"] = Database
    Caches.reconcile.__annotations__.update(
        session=Session, cache=Cache, log=Ctx, **{"return": None}
    )
    Session.__init__.__annotations__["database"] = Database
    async with operating(api, op) as world:
        await world.make()
        await world.until(lambda: bool(got))
        assert got == [(True, "Ctx")]
        assert ended == ["session"]
    assert ended == ["session", "database"]


async def test_what_nobody_provides_is_told_before_anything_runs(
    api: EmbeddedCluster, op: Operator
) -> None:
    class Billing:
        pass

    async def keep(cache: Cache, billing: Billing) -> None: ...

    keep.__annotations__["billing"] = Billing
    op.reconcile(Cache)(keep)
    with pytest.raises(InjectionError, match=r"keep asks for billing: .*Billing, which nobody"):
        async with operating(api, op):
            pass


def test_declarations_that_cannot_be_are_refused(op: Operator) -> None:
    with pytest.raises(EntityError, match="is no coroutine function"):
        op.reconcile(Cache)(lambda cache: None)
    with pytest.raises(EntityError, match="has nothing to call"):
        op.controller(Cache)(type("Empty", (), {}))
    with pytest.raises(EntityError, match="is blank"):
        Operator(" ")
    with pytest.raises(EntityError, match="at least one works"):
        op.controller(Cache, workers=0)


async def test_shutting_down_finishes_what_runs(api: EmbeddedCluster, op: Operator) -> None:
    began, ended = asyncio.Event(), []

    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        began.set()
        await ctx.stopping.wait()
        await asyncio.sleep(0.02)
        ended.append(cache.metadata.name)

    async with operating(api, op) as world:
        await world.make()
        await began.wait()
        await world.make("b")
    assert ended == ["a"]


async def test_namespaces_may_be_named(api: EmbeddedCluster, op: Operator) -> None:
    seen: list[str] = []

    @op.reconcile(ConfigMap, predicate=generation_changed)
    async def keep(found: ConfigMap) -> None:
        seen.append(f"{found.metadata.namespace}/{found.metadata.name}")

    async with operating(api, op, namespaces=("default", "kube-public")) as world:
        for namespace in ("default", "kube-public", "kube-system"):
            await world.client.create(CONFIG_MAPS, {"metadata": {"name": "x"}}, namespace)
        await world.until(lambda: "kube-public/x" in seen and "default/x" in seen)
        await world.quiet()
        assert "kube-system/x" not in seen


async def test_logs_say_which_object_they_are_about(
    api: EmbeddedCluster, op: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cove.operator")

    @op.reconcile(Cache)
    async def keep(cache: Cache, ctx: Ctx) -> None:
        ctx.log.info("looked at")

    async with operating(api, op) as world:
        await world.make()
        await world.quiet()
    (record,) = [r for r in caplog.records if "looked at" in r.getMessage()]
    assert record.getMessage() == "cache default/a: looked at"
    found = record.__dict__["kubernetes"]
    assert (found["kind"], found["namespace"], found["name"]) == ("Cache", "default", "a")
