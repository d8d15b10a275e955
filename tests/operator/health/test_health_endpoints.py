"""Health of an operator: what probes are told, of its own checks and of everybody's."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from tests.operator.runtime.operator_world import Cache, define, operating

from cove.client import ManualClock
from cove.engines.embedded import EmbeddedCluster
from cove.operator import EntityError, Operator, Settings
from cove.operator.health import Check, Health, HealthServer, serving
from cove.operator.leadership import Elector, run_elected
from cove.operator.metrics import Metrics


@asynccontextmanager
async def probing(
    health: Health, settings: Settings | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        health,
        HealthServer("127.0.0.1", 0, health=health, settings=settings) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        yield session


async def asked(session: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with session.get(path) as answer:
        return answer.status, await answer.text()


@pytest.fixture
def op() -> Operator:
    made = Operator("cache-operator")

    @made.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        """Nothing."""

    return made


@pytest.mark.parametrize("path", ["/healthz", "/health"])
async def test_an_operator_that_answers_lives(path: str) -> None:
    async with probing(Health()) as session:
        assert await asked(session, path) == (200, "ok")
        status, text = await asked(session, f"{path}?verbose")
        assert (status, text) == (200, "[+]ping ok\n[+]event-loop ok\nhealthz check passed\n")
        assert await asked(session, f"{path}/ping") == (200, "ok")
        assert (await asked(session, f"{path}/nonsense"))[0] == 404


@pytest.mark.parametrize("path", ["/readyz", "/ready"])
async def test_an_operator_is_ready_when_what_it_follows_is_in_memory(
    api: EmbeddedCluster, op: Operator, path: str
) -> None:
    await define(api.client, Cache)
    health = Health(op.checks)
    async with probing(health) as session:
        assert (await asked(session, path))[0] == 500
        with api.faults.hang(resources="caches.cache.example.com"):
            async with op.runtime(api.client) as runtime:
                health.follow(runtime)
                status, text = await asked(session, path)
                assert status == 500
                assert "[-]stores failed: reason withheld\n" in text
                assert text.endswith("readyz check failed\n")
                assert await asked(session, f"{path}/stores") == (
                    500,
                    "internal server error: not listed yet: Cache\n",
                )
                assert await asked(session, f"{path}?exclude=stores&exclude=ping&verbose") == (
                    200,
                    "[+]watches ok\n[+]stores excluded: ok\n[+]ping excluded: ok\n"
                    "readyz check passed\n",
                )
                assert (await asked(session, "/healthz"))[0] == 200, "it lives all the same"
        async with operating(api, op) as world:
            health.follow(world.runtime)
            assert await asked(session, path) == (200, "ok")


async def test_a_server_that_is_not_reached_for_long_makes_it_unready(
    api: EmbeddedCluster, op: Operator
) -> None:
    await define(api.client, Cache)
    clock = ManualClock()
    async with probing(health := Health()) as session:
        async with op.runtime(api.client, clock=clock) as runtime:
            await runtime.synced()
            health.follow(runtime, patience=60)
            (informer,) = runtime.controllers[0].store.informers
            with api.faults.error(503, resources="caches.cache.example.com"):
                api.faults.disconnect()
                async with asyncio.timeout(10):
                    while informer.problem is None:
                        await asyncio.sleep(0.001)
                        clock.advance(1)
                assert await asked(session, "/readyz") == (200, "ok"), "it may pass"
                clock.advance(61)
                status, text = await asked(session, "/readyz/watches")
                assert status == 500
                assert "caches.cache.example.com: " in text
            async with asyncio.timeout(10):
                while informer.problem is not None:
                    await asyncio.sleep(0.001)
                    clock.advance(1)
            assert await asked(session, "/readyz") == (200, "ok")


async def test_a_standby_is_ready(api: EmbeddedCluster, op: Operator) -> None:
    await define(api.client, Cache)
    health = Health()

    def make() -> object:
        runtime = op.runtime(api.client)
        health.follow(runtime)
        return runtime

    clock = ManualClock()
    async with (
        probing(health) as session,
        Elector(api.client, "cache-operator", "default", clock=clock) as leader,
        Elector(api.client, "cache-operator", "default", clock=clock) as standby,
    ):
        leading = asyncio.create_task(leader.lead(asyncio.Event().wait))  # type: ignore[arg-type]
        assert await leader.changed()
        task = asyncio.create_task(run_elected(make, standby))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            while await asked(session, "/readyz") != (200, "ok"):
                await asyncio.sleep(0.01)
        assert not standby.leading
        for running in (task, leading):
            running.cancel()
        await asyncio.gather(task, leading, return_exceptions=True)


async def test_checks_of_users_are_for_either_or_both(op: Operator) -> None:
    well = {"database": True, "disk": True, "licence": True}

    @op.check()
    async def database() -> None:
        if not well["database"]:
            raise ConnectionError("no route")

    @op.check(ready=False, live=True)
    def disk() -> bool:
        return well["disk"]

    @op.check(name="licence", live=True)
    def check_the_licence() -> str | None:
        return None if well["licence"] else "it has run out"

    async def answers(session: aiohttp.ClientSession) -> tuple[int, int]:
        live, ready = "/healthz", "/readyz?exclude=stores"
        return (await asked(session, live))[0], (await asked(session, ready))[0]

    async with probing(Health(op.checks)) as session:
        assert await answers(session) == (200, 200)
        well["database"] = False
        assert await answers(session) == (200, 500)
        assert await asked(session, "/readyz/database") == (
            500,
            "internal server error: no route\n",
        )
        well.update(database=True, disk=False)
        assert await answers(session) == (500, 200)
        well.update(disk=True, licence=False)
        assert await answers(session) == (500, 500)
        assert "it has run out" in (await asked(session, "/healthz/licence"))[1]


async def test_a_check_that_hangs_fails_in_its_time_and_hangs_once(
    op: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    go = threading.Event()
    asks: list[int] = []

    @op.check(live=True, timeout=0.05)
    def stuck() -> None:
        asks.append(1)
        go.wait(10)

    @op.check(live=True, timeout=0.05)
    async def forever() -> None:
        await asyncio.Event().wait()

    async with probing(Health(op.checks)) as session:
        for _ in range(3):
            status, text = await asked(session, "/healthz")
            assert status == 500
            assert "[-]stuck failed" in text
            assert "[-]forever failed" in text
        assert len(asks) == 1, "no thread is wasted on what hangs already"
        assert "check stuck failed: no answer within 0.05 s" in caplog.text
        assert caplog.text.count("check stuck failed") == 1, "a reason is said once"
        go.set()
        async with asyncio.timeout(5):
            while (await asked(session, "/healthz/stuck"))[0] != 200:
                await asyncio.sleep(0.01)
        assert "check stuck is well again" in caplog.text


async def test_paths_can_be_chosen_and_the_common_ones_stay() -> None:
    settings = Settings(health_path="/alive", ready_path="/here")
    async with probing(Health(), settings) as session:
        assert (await asked(session, "/alive"))[0] == 200
        assert (await asked(session, "/healthz"))[0] == 200
        assert (await asked(session, "/here?exclude=stores"))[0] == 200


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_port_0_serves_nothing_and_the_same_port_serves_both() -> None:
    health, metrics = Health(), Metrics()
    none = Settings(host="127.0.0.1", health_port=0, metrics_port=0)
    async with serving(none, health, metrics) as servers:
        assert servers == []
    port = free_port()
    both = Settings(host="127.0.0.1", health_port=port, metrics_port=port)
    async with serving(both, health, metrics) as servers:
        (server,) = servers
        async with aiohttp.ClientSession(server.url) as session:
            assert (await asked(session, "/healthz"))[0] == 200
            assert (await asked(session, "/metrics"))[0] == 200
        with pytest.raises(EntityError, match="cannot be served at"):
            async with serving(both, health, metrics):
                pytest.fail("the port is taken")
    one, other = free_port(), free_port()
    two = Settings(host="127.0.0.1", health_port=one, metrics_port=other)
    async with serving(two, health, metrics) as servers:
        async with aiohttp.ClientSession() as session:
            first, second = (server.url for server in servers)
            assert (await asked(session, f"{first}/healthz"))[0] == 200
            assert (await asked(session, f"{first}/metrics"))[0] == 404
            assert (await asked(session, f"{second}/metrics"))[0] == 200


def test_checks_that_cannot_be_are_refused(op: Operator) -> None:
    with pytest.raises(EntityError, match="it is part of a path"):
        Check("a/b", print)
    with pytest.raises(EntityError, match="asked for nothing"):
        Check("a", print, ready=False)
    op.check(name="a")(print)
    with pytest.raises(EntityError, match="already the name of a check"):
        op.check(name="a")(print)
    with pytest.raises(EntityError, match='a check "ping" already'):
        Health([Check("ping", print)])
