"""Metrics: an operator's numbers, under the names that controller-runtime's dashboards know.

Source: https://book.kubebuilder.io/reference/metrics-reference
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from cove.client import Clock, Informer, SystemClock
from cove.kube.status import CoveError
from cove.operator.entities import info
from cove.operator.runtime.meters import Ended, Meter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from cove.operator.leadership import Elector, Shards
    from cove.operator.runtime.stores import Stores

__all__ = ["Metrics", "MetricsError"]

RESULTS = ("success", "error", "requeue", "requeue_after")
# Seconds of a reconcile; controller-runtime's buckets.
RECONCILE = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
)  # fmt: skip
# Seconds in a queue and of the work: ten nanoseconds, and ten times that, eleven times over.
QUEUE = tuple(10.0 ** (n - 8) for n in range(12))


class MetricsError(CoveError):
    """Metrics cannot be made."""


class Metrics:
    """Counts for one operator, in a registry of its own; handed to its runtimes as meters.

    Raises MetricsError where prometheus-client is not installed.
    """

    def __init__(
        self, *, registry: CollectorRegistry | None = None, clock: Clock | None = None
    ) -> None:
        try:
            import prometheus_client as prom
        except ImportError as e:
            raise MetricsError(
                "metrics need prometheus-client: pip install 'cove[operator]', or set "
                "metrics_port=0 to serve none"
            ) from e
        self.clock: Clock = clock or SystemClock()
        self.registry = made = registry or prom.CollectorRegistry()
        prom.ProcessCollector(registry=made)
        prom.PlatformCollector(registry=made)
        one, queue = ["controller"], ["name", "controller"]
        self.reconciles = prom.Counter(
            "controller_runtime_reconcile",
            "Total number of reconciliations per controller",
            ["controller", "result"],
            registry=made,
        )
        self.errors = prom.Counter(
            "controller_runtime_reconcile_errors",
            "Total number of reconciliation errors per controller",
            one,
            registry=made,
        )
        self.terminal = prom.Counter(
            "controller_runtime_terminal_reconcile_errors",
            "Total number of terminal reconciliation errors per controller",
            one,
            registry=made,
        )
        self.times = prom.Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Length of time per reconciliation per controller",
            one,
            buckets=RECONCILE,
            registry=made,
        )
        self.most = prom.Gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Maximum number of concurrent reconciles per controller",
            one,
            registry=made,
        )
        self.active = prom.Gauge(
            "controller_runtime_active_workers",
            "Number of currently used workers per controller",
            one,
            registry=made,
        )
        self.depth = prom.Gauge(
            "workqueue_depth", "Current depth of workqueue", queue, registry=made
        )
        self.adds = prom.Counter(
            "workqueue_adds", "Total number of adds handled by workqueue", queue, registry=made
        )
        self.waits = prom.Histogram(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            queue,
            buckets=QUEUE,
            registry=made,
        )
        self.works = prom.Histogram(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes.",
            queue,
            buckets=QUEUE,
            registry=made,
        )
        self.retries = prom.Counter(
            "workqueue_retries",
            "Total number of retries handled by workqueue",
            queue,
            registry=made,
        )
        self.unfinished = prom.Gauge(
            "workqueue_unfinished_work_seconds",
            "How many seconds of work has been done that is in progress and hasn't been observed "
            "by work_duration. Large values indicate stuck threads.",
            queue,
            registry=made,
        )
        self.longest = prom.Gauge(
            "workqueue_longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running.",
            queue,
            registry=made,
        )
        self.leaders = prom.Gauge(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, "
            "1 indicates master. 'name' is the string used to identify the lease.",
            ["name"],
            registry=made,
        )
        self.shards = prom.Gauge(
            "cove_operator_shards",
            "Number of shards that this replica holds",
            ["name"],
            registry=made,
        )
        self.requests = prom.Counter(
            "rest_client_requests",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ["code", "method", "host"],
            registry=made,
        )
        self._followed = _Followed()
        made.register(self._followed)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """All numbers now, in the format that is asked for, and its content type."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # -- as meters

    def controller(self, name: str, workers: int) -> Meter:
        """Who counts for a controller; what one before has left is set to zero."""
        return _Meter(self, name, workers)

    def stores(self, stores: Stores) -> None:
        """Tell of what these follow."""
        self._followed.turn(stores)

    def span(self, controller: str, handler: str, key: str) -> AbstractContextManager[object]:
        """No traces."""
        return nullcontext()

    # -- leadership

    def follow(self, elector: Elector) -> None:
        """Tell whether it leads."""
        elector.add_handler(self.leaders.labels(elector.name).set)

    def follow_shards(self, shards: Shards) -> None:
        """Tell how many it holds."""
        self.shards.labels(shards.name).set_function(lambda: len(shards.held))


class _Meter:
    """Counts for one controller and its queue."""

    def __init__(self, metrics: Metrics, name: str, workers: int) -> None:
        self._clock = metrics.clock
        self._results = {how: metrics.reconciles.labels(name, how) for how in RESULTS}
        self._errors = metrics.errors.labels(name)
        self._terminal = metrics.terminal.labels(name)
        self._time = metrics.times.labels(name)
        self._active = metrics.active.labels(name)
        self._depth = metrics.depth.labels(name, name)
        self._adds = metrics.adds.labels(name, name)
        self._waits = metrics.waits.labels(name, name)
        self._works = metrics.works.labels(name, name)
        self._retries = metrics.retries.labels(name, name)
        # When each work that goes on began.
        self._began: list[float] = []
        metrics.most.labels(name).set(workers)
        self._active.set(0)
        self._depth.set(0)
        metrics.unfinished.labels(name, name).set_function(self._unfinished)
        metrics.longest.labels(name, name).set_function(self._longest)

    def added(self) -> None:
        self._depth.inc()
        self._adds.inc()

    def taken(self, waited: float) -> None:
        self._depth.dec()
        self._active.inc()
        self._waits.observe(waited)
        self._began.append(self._clock.monotonic())

    def finished(self, took: float) -> None:
        self._active.dec()
        self._works.observe(took)
        self._time.observe(took)
        began = self._clock.monotonic() - took
        # The queue has read the clock a moment before.
        self._began.remove(min(self._began, key=lambda at: abs(at - began)))

    def retried(self) -> None:
        self._retries.inc()

    def ended(self, how: Ended) -> None:
        if how == "terminal":
            self._terminal.inc()
            how = "error"
        if how == "error":
            self._errors.inc()
        self._results[how].inc()

    def _unfinished(self) -> float:
        return sum(self._clock.monotonic() - at for at in self._began)

    def _longest(self) -> float:
        return self._clock.monotonic() - min(self._began) if self._began else 0.0


class _Followed:
    """A collector of what informers have counted; what earlier ones had is added."""

    def __init__(self) -> None:
        self._stores: Stores | None = None
        self._before: dict[tuple[str, str], tuple[int, int]] = {}

    def turn(self, stores: Stores) -> None:
        for kind, informers in self._kinds().items():
            events, restarts = self._before.get(kind, (0, 0))
            # The first watch of the next one is another watch, too.
            self._before[kind] = (
                events + sum(i.events for i in informers),
                restarts + sum(i.watches for i in informers),
            )
        self._stores = stores

    def _kinds(self) -> dict[tuple[str, str], set[Informer]]:
        kinds: dict[tuple[str, str], set[Informer]] = {}
        for store in self._stores or ():
            said = info(store.cls)
            kinds.setdefault((said.group, said.kind), set()).update(store.informers)
        return kinds

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        labels = ["group", "kind"]
        objects = GaugeMetricFamily(
            "cove_operator_cache_objects", "Number of objects kept in memory", labels=labels
        )
        events = CounterMetricFamily(
            "cove_operator_watch_events", "Number of changes told by watches", labels=labels
        )
        restarts = CounterMetricFamily(
            "cove_operator_watch_restarts",
            "Number of watches opened in place of one that had ended or was lost",
            labels=labels,
        )
        for kind, informers in self._kinds().items():
            seen, again = self._before.get(kind, (0, 0))
            objects.add_metric(kind, sum(len(i) for i in informers))
            events.add_metric(kind, seen + sum(i.events for i in informers))
            restarts.add_metric(kind, again + sum(max(i.watches - 1, 0) for i in informers))
        return (objects, events, restarts)
