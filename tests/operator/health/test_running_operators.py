"""What ``run`` runs tells of its health and its numbers, elected, sharing or alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.elsewhere import ELSEWHERE
from tests.operator.health.test_health_endpoints import asked, free_port
from tests.operator.runtime.operator_world import Cache, World, define

from cove.engines.embedded import EmbeddedCluster
from cove.operator import Leadership, Operator, Settings
from cove.operator.commands.run import run_operator
from cove.operator.health import Health
from cove.operator.metrics import MetricsError


def operator(seen: list[str]) -> Operator:
    op = Operator("cache-operator")

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        seen.append(cache.metadata.name)

    @op.validate(Cache)
    def check(new: Cache) -> None:
        """All is well."""

    return op


@asynccontextmanager
async def running(
    op: Operator, api: EmbeddedCluster, settings: Settings
) -> AsyncIterator[aiohttp.ClientSession]:
    task = asyncio.create_task(run_operator(op, api.client, settings))
    try:
        url = f"http://127.0.0.1:{settings.health_port}"
        async with aiohttp.ClientSession(url) as session, asyncio.timeout(20):
            while not task.done():
                try:
                    if await asked(session, "/readyz") == (200, "ok"):
                        break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.01)
            yield session
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("settings", "sample"),
    [
        ({}, 'workqueue_depth{controller="cache",name="cache"}'),
        ({"leadership": Leadership()}, 'leader_election_master_status{name="cache-operator"} 1.0'),
        ({"shards": 4}, 'cove_operator_shards{name="cache-operator"} 4.0'),
    ],
    ids=["alone", "elected", "sharing"],
)
async def test_an_operator_that_runs_is_ready_and_counts(
    api: EmbeddedCluster, settings: dict[str, object], sample: str
) -> None:
    await define(api.client, Cache)
    seen: list[str] = []
    port = free_port()
    made = Settings(host="127.0.0.1", health_port=port, metrics_port=port, **settings)  # type: ignore[arg-type]
    async with running(operator(seen), api, made) as session:
        await World(api.client, None).make("a")  # type: ignore[arg-type]
        while not seen:
            await asyncio.sleep(0.01)
        assert await asked(session, "/readyz/webhooks") == (200, "ok")
        assert await asked(session, "/healthz") == (200, "ok")
        _, text = await asked(session, "/metrics")
        assert sample in text
        assert 'cove_operator_cache_objects{group="cache.example.com",kind="Cache"} 1.0' in text
        host = urlsplit(api.url).netloc if ELSEWHERE else "in-process"
        assert f'rest_client_requests_total{{code="200",host="{host}",method="GET"}}' in text


async def test_who_converts_is_ready_before_anything_is_listed() -> None:
    async with Health(synced=False) as health:
        assert (await health.ready()).good


async def test_metrics_that_were_asked_for_need_their_library(
    api: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MetricsError, match=r"cove\[operator\]"):
        await run_operator(operator([]), api.client, Settings(metrics_port=free_port()))
