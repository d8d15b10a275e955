"""Metrics and traces of an operator, under the names that dashboards know."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_tracer
from tests.elsewhere import serving
from tests.operator.runtime.operator_world import Cache, define, operating

from cove.client import Client, ManualClock, kubeconfig
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.operator import Operator, Retry, RetryError, Runtime, TerminalError
from cove.operator.health import HealthServer
from cove.operator.leadership import Elector, Shards, run_sharded
from cove.operator.metrics import Metrics, MetricsError, metered, traced
from cove.operator.runtime.meters import Unmetered

NAMES = {"name": "keep", "controller": "keep"}


def value(metrics: Metrics, sample: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(sample, labels)


async def test_reconciles_are_counted_by_result(api: EmbeddedCluster) -> None:
    op = Operator("cache-operator")
    clock = ManualClock()
    metrics = Metrics(clock=clock)

    @op.reconcile(Cache, workers=2, retry=Retry(base=1, jitter=0))
    async def keep(cache: Cache) -> None:
        match cache.metadata.name:
            case "bad":
                raise ValueError("no")
            case "hopeless":
                raise TerminalError("never")
            case "later":
                raise RetryError("not yet", 60)

    def results() -> list[float | None]:
        return [
            value(metrics, "controller_runtime_reconcile_total", controller="keep", result=how)
            for how in ("success", "error", "requeue_after", "requeue")
        ]

    async with operating(api, op, clock=clock, meters=metrics) as world:
        assert results() == [0, 0, 0, 0], "they are there before anything has happened"
        for name in ("good", "bad", "hopeless", "later"):
            await world.make(name)
        await world.until(lambda: results() == [1, 2, 1, 0])
        one = {"controller": "keep"}
        assert value(metrics, "controller_runtime_reconcile_errors_total", **one) == 2
        assert value(metrics, "controller_runtime_terminal_reconcile_errors_total", **one) == 1
        assert value(metrics, "controller_runtime_max_concurrent_reconciles", **one) == 2
        assert value(metrics, "controller_runtime_active_workers", **one) == 0
        assert value(metrics, "controller_runtime_reconcile_time_seconds_count", **one) == 4
        assert value(metrics, "workqueue_adds_total", **NAMES) == 4
        assert value(metrics, "workqueue_retries_total", **NAMES) == 1
        assert value(metrics, "workqueue_queue_duration_seconds_count", **NAMES) == 4
        assert value(metrics, "workqueue_work_duration_seconds_count", **NAMES) == 4


async def test_queues_tell_their_depth_and_what_takes_long(api: EmbeddedCluster) -> None:
    op = Operator("cache-operator")
    clock = ManualClock()
    metrics = Metrics(clock=clock)
    go = asyncio.Event()

    @op.reconcile(Cache, name="keep")
    async def keep(cache: Cache) -> None:
        await go.wait()

    async with operating(api, op, clock=clock, meters=metrics) as world:
        for name in ("a", "b", "c"):
            await world.make(name)
        async with asyncio.timeout(10):
            while value(metrics, "workqueue_adds_total", **NAMES) != 3 or world.runtime.idle:
                await asyncio.sleep(0)
            while value(metrics, "workqueue_depth", **NAMES) != 2:
                await asyncio.sleep(0)
        clock.advance(7)
        assert value(metrics, "workqueue_depth", **NAMES) == 2
        assert value(metrics, "controller_runtime_active_workers", controller="keep") == 1
        assert value(metrics, "workqueue_unfinished_work_seconds", **NAMES) == 7
        assert value(metrics, "workqueue_longest_running_processor_seconds", **NAMES) == 7
        go.set()
        await world.until(lambda: value(metrics, "workqueue_depth", **NAMES) == 0)
        assert value(metrics, "workqueue_unfinished_work_seconds", **NAMES) == 0
        assert value(metrics, "workqueue_longest_running_processor_seconds", **NAMES) == 0
        assert value(metrics, "workqueue_work_duration_seconds_sum", **NAMES) == 7
        assert value(metrics, "workqueue_queue_duration_seconds_sum", **NAMES) == 14


async def test_watches_and_what_is_kept_are_counted(api: EmbeddedCluster) -> None:
    op = Operator("cache-operator")
    metrics = Metrics()
    seen: list[str] = []

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        seen.append(cache.metadata.name)

    kind = {"group": "cache.example.com", "kind": "Cache"}
    async with operating(api, op, meters=metrics) as world:
        for name in ("a", "b"):
            await world.make(name)
        await world.until(lambda: len(seen) == 2)
        assert value(metrics, "cove_operator_cache_objects", **kind) == 2
        assert value(metrics, "cove_operator_watch_events_total", **kind) == 2
        assert value(metrics, "cove_operator_watch_restarts_total", **kind) == 0
        api.faults.disconnect()
        await world.resize(3, "b")
        await world.until(lambda: len(seen) == 3)
        assert value(metrics, "cove_operator_watch_restarts_total", **kind) == 1
    async with operating(api, op, meters=metrics) as world:
        await world.until(lambda: len(seen) == 5)
        events = value(metrics, "cove_operator_watch_events_total", **kind)
        assert events is not None
        assert events >= 3, "counters never go back"
        assert value(metrics, "cove_operator_watch_restarts_total", **kind) == 2


async def test_who_leads_and_what_is_held_is_told(api: EmbeddedCluster) -> None:
    await define(api.client, Cache)
    metrics = Metrics()

    async def leads() -> None:
        assert value(metrics, "leader_election_master_status", name="cache-operator") == 1

    async with Elector(api.client, "cache-operator", "default", clock=ManualClock()) as elector:
        metrics.follow(elector)
        assert value(metrics, "leader_election_master_status", name="cache-operator") == 0
        await elector.lead(leads)
        assert value(metrics, "leader_election_master_status", name="cache-operator") == 0

    op = Operator("cache-operator")

    @op.reconcile(Cache)
    async def keep(cache: Cache) -> None:
        """Nothing."""

    def make() -> Runtime:
        return op.runtime(api.client, meters=metrics)

    async with Shards(api.client, "cache-operator", "default", count=3) as shards:
        metrics.follow_shards(shards)
        work = asyncio.create_task(run_sharded(make, shards))
        async with asyncio.timeout(10):
            while value(metrics, "cove_operator_shards", name="cache-operator") != 3:
                await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_requests_are_counted_by_code_method_and_host() -> None:
    maps = GVR("", "v1", "configmaps")
    async with serving(nodes=0, controllers=False) as cluster:
        connection = kubeconfig.load(cluster.kubeconfig_path)
        host = connection.server.removeprefix("https://")
        async with Client.connect(connection) as below:
            metrics = Metrics()
            client = metered(below, metrics)

            def count(code: str, method: str) -> float | None:
                return value(
                    metrics, "rest_client_requests_total", code=code, method=method, host=host
                )

            await client.create(maps, {"metadata": {"name": "a"}}, "default")
            with pytest.raises(Exception, match="not found"):
                await client.get(maps, "b", "default")
            async with client.watch(maps, "default"):
                assert count("200", "GET") == 1
            with cluster.faults.reset(resources="configmaps"):
                with pytest.raises(Exception, match="GET"):
                    await client.get(maps, "a", "default")
            assert [count("201", "POST"), count("404", "GET"), count("<error>", "GET")] == [1, 1, 1]
            await client.close()
            assert (await below.version())["major"] == "1", "the connection is its owner's"


async def test_metrics_are_served_in_the_format_that_is_asked_for() -> None:
    metrics = Metrics()
    metrics.controller("keep", 1).added()
    async with (
        HealthServer("127.0.0.1", 0, metrics=metrics) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        async with session.get("/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await answer.text()
        assert 'workqueue_adds_total{controller="keep",name="keep"} 1.0\n' in text
        assert (
            'controller_runtime_reconcile_time_seconds_bucket{controller="keep",le="0.15"}' in text
        )
        wanted = {"Accept": "application/openmetrics-text;version=1.0.0"}
        async with session.get("/metrics", headers=wanted) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await answer.text()).endswith("# EOF\n")


def test_every_operator_has_a_registry_of_its_own() -> None:
    one, other = Metrics(), Metrics()
    one.controller("keep", 1).added()
    assert value(one, "workqueue_adds_total", **NAMES) == 1
    assert value(other, "workqueue_adds_total", **NAMES) is None


def test_the_names_are_those_of_controller_runtime() -> None:
    metrics = Metrics()
    metrics.controller("keep", 1)
    names = {family.name for family in metrics.registry.collect()}
    assert names >= {
        "controller_runtime_reconcile",
        "controller_runtime_reconcile_errors",
        "controller_runtime_terminal_reconcile_errors",
        "controller_runtime_reconcile_time_seconds",
        "controller_runtime_max_concurrent_reconciles",
        "controller_runtime_active_workers",
        "workqueue_depth",
        "workqueue_adds",
        "workqueue_queue_duration_seconds",
        "workqueue_work_duration_seconds",
        "workqueue_retries",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
        "leader_election_master_status",
        "rest_client_requests",
    }


def test_without_the_library_metrics_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(
        MetricsError, match=r"pip install 'cove\[operator\]', or set metrics_port=0"
    ):
        Metrics()


def test_without_opentelemetry_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    inner = Unmetered()
    assert traced(inner) is inner


async def test_every_call_of_a_handler_is_a_span(api: EmbeddedCluster) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    metrics = Metrics()
    op = Operator("cache-operator")

    @op.reconcile(Cache, retry=Retry(base=3600))
    async def keep(cache: Cache) -> None:
        with get_tracer("test", tracer_provider=provider).start_as_current_span("inside"):
            if cache.metadata.name == "bad":
                raise ValueError("no")
        if cache.metadata.name == "later":
            raise RetryError("not yet", 60)

    meters = traced(metrics, provider=provider)
    async with operating(api, op, meters=meters) as world:
        for name in ("good", "bad", "later"):
            await world.make(name)
        one = {"controller": "keep"}
        await world.until(
            lambda: value(metrics, "controller_runtime_reconcile_time_seconds_count", **one) == 3
        )
    provider.shutdown()
    spans = {s.attributes["k8s.object.name"]: s for s in _calls(exporter)}
    assert spans["good"].name == "keep reconcile"
    assert dict(spans["good"].attributes) == {
        "cove.controller": "keep",
        "cove.handler": "reconcile",
        "k8s.object.name": "good",
        "k8s.namespace.name": "default",
    }
    assert spans["good"].status.status_code is StatusCode.UNSET
    assert spans["bad"].status.status_code is StatusCode.ERROR
    assert spans["bad"].status.description == "ValueError: no"
    assert [event.name for event in spans["bad"].events] == ["exception"]
    assert spans["later"].status.status_code is StatusCode.UNSET
    assert spans["later"].attributes["cove.retry_after"] == 60
    inside = [s for s in exporter.get_finished_spans() if s.name == "inside"]
    parents = {s.context.span_id for s in spans.values()}
    assert {s.parent.span_id for s in inside} == parents


def _calls(exporter: InMemorySpanExporter) -> list:  # type: ignore[type-arg]
    return [s for s in exporter.get_finished_spans() if s.name != "inside"]
