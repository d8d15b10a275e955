"""Proposals: what each of an autoscaler's metrics would have the size be.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller/podautoscaler
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from cove.controllers._pods import is_ready
from cove.controllers.autoscaler._calculator import (
    NoMetricsError,
    Sample,
    Tolerance,
    by_object,
    by_pods,
    grouped,
)
from cove.controllers.autoscaler._metrics import Metrics
from cove.kube.quantity import Quantity, parse

__all__ = ["Proposal", "Proposals", "failure_reason"]

Doc = dict[str, Any]


class Proposal(NamedTuple):
    """A size, the metric's name for people, and its current value for the status."""

    replicas: int
    name: str
    status: Doc


def failure_reason(metric: Doc) -> str:
    """The reason of conditions and events about a metric that cannot be had."""
    return f"FailedGet{metric['type']}Metric"


def _text(milli: int) -> str:
    return str(Quantity(milli * 10**6, "DecimalSI"))


class Proposals:
    """One look at one autoscaler's metrics."""

    def __init__(
        self,
        metrics: Metrics,
        pods: list[Doc],
        selector: str,
        replicas: tuple[int, int],
        tolerance: Tolerance,
        now: datetime,
    ) -> None:
        self._metrics = metrics
        self._pods = pods
        self._selector = selector
        # As the target's scale says: wanted, and there.
        self._current, self._there = replicas
        self._tolerance = tolerance
        self._now = now

    async def of(self, metric: Doc) -> Proposal:
        """What a metric proposes; raises NoMetricsError."""
        kind: str = metric["type"]
        if kind == "Resource":
            return await self._resource(metric["resource"], "resource")
        if kind == "ContainerResource":
            return await self._resource(metric["containerResource"], "containerResource")
        if kind == "Pods":
            return await self._of_pods(metric["pods"])
        if kind == "Object":
            return await self._of_object(metric["object"])
        return await self._external(metric["external"])

    # -- cpu and memory

    async def _resource(self, source: Doc, field: str) -> Proposal:
        name, target = source["name"], source["target"]
        container = source.get("container", "")
        utilization = target.get("averageUtilization") is not None
        try:
            samples = await self._metrics.resource(name, self._selector, container)
            if utilization:
                replicas, seen = self._by_utilization(name, container, target, samples)
                what = "utilization (percentage of request)"
            else:
                wanted = parse(target["averageValue"]).milli
                replicas, seen = self._by_value(wanted, samples, cpu=name == "cpu")
                what = ""
        except NoMetricsError as e:
            of = "utilization" if utilization else "usage"
            raise NoMetricsError(f"failed to get {name} {of}: {e}") from e
        kind = "resource" if field == "resource" else "container resource"
        status: Doc = {"name": name, "current": seen}
        if container:
            status["container"] = container
        full = {"type": f"{field[0].upper()}{field[1:]}", field: status}
        return Proposal(replicas, f"{name} {kind} {what}".rstrip(), full)

    def _by_utilization(
        self, name: str, container: str, target: Doc, samples: Mapping[str, Sample]
    ) -> tuple[int, Doc]:
        wanted: int = target["averageUtilization"]
        groups = grouped(self._pods, samples, self._now, cpu=name == "cpu")
        values = _counting(samples, groups.ignored | groups.unready)
        requests = self._requests(name, container)

        def share(found: Mapping[str, int]) -> int:
            asked = sum(requests[n] for n in found if n in requests)
            if not asked:
                raise NoMetricsError("no metrics returned matched known pods")
            return sum(v for n, v in found.items() if n in requests) * 100 // asked

        replicas = by_pods(
            values,
            groups,
            self._current,
            self._tolerance,
            lambda found: share(found) / wanted,
            lambda pod: requests.get(pod, 0) * max(100, wanted) // 100,
        )
        average = sum(values.values()) // len(values)
        return replicas, {"averageUtilization": share(values), "averageValue": _text(average)}

    def _requests(self, name: str, container: str) -> dict[str, int]:
        """What pods ask for; one that does not say makes a share impossible."""
        found: dict[str, int] = {}
        for pod in self._pods:
            spec = pod["spec"]
            sidecars = (
                c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"
            )
            whole = (spec.get("resources") or {}).get("requests", {})
            if not container and name in whole:
                found[pod["metadata"]["name"]] = parse(whole[name]).milli
                continue
            total = 0
            for one in (*spec["containers"], *sidecars):
                if container and one["name"] != container:
                    continue
                asked = (one.get("resources") or {}).get("requests", {}).get(name)
                if asked is None:
                    raise NoMetricsError(
                        f"missing request for {name} in container {one['name']} of Pod "
                        f"{pod['metadata']['name']}"
                    )
                total += parse(asked).milli
            found[pod["metadata"]["name"]] = total
        return found

    def _by_value(
        self, wanted: int, samples: Mapping[str, Sample], *, cpu: bool = False
    ) -> tuple[int, Doc]:
        groups = grouped(self._pods, samples, self._now, cpu=cpu)
        values = _counting(samples, groups.ignored | groups.unready)
        replicas = by_pods(
            values,
            groups,
            self._current,
            self._tolerance,
            lambda found: sum(found.values()) // len(found) / wanted,
            lambda _: wanted,
        )
        return replicas, {"averageValue": _text(sum(values.values()) // len(values))}

    # -- everything else

    async def _of_pods(self, source: Doc) -> Proposal:
        metric = source["metric"]
        try:
            samples = await self._metrics.pods(metric, self._selector)
            wanted = parse(source["target"]["averageValue"]).milli
            replicas, seen = self._by_value(wanted, samples)
        except NoMetricsError as e:
            raise NoMetricsError(f"failed to get pods metric value: {e}") from e
        status = {"type": "Pods", "pods": {"metric": metric, "current": seen}}
        return Proposal(replicas, f"pods metric {metric['name']}", status)

    async def _of_object(self, source: Doc) -> Proposal:
        metric, described = source["metric"], source["describedObject"]
        try:
            value = await self._metrics.object(metric, described)
        except NoMetricsError as e:
            raise NoMetricsError(f"failed to get object metric value: {e}") from e
        replicas, seen = self._single(value, source["target"])
        status = {
            "type": "Object",
            "object": {"metric": metric, "describedObject": described, "current": seen},
        }
        return Proposal(replicas, f"{described['kind']} metric {metric['name']}", status)

    async def _external(self, source: Doc) -> Proposal:
        metric, target = source["metric"], source["target"]
        try:
            value = await self._metrics.external(metric)
        except NoMetricsError as e:
            raise NoMetricsError(
                f"failed to get {metric['name']} external metric value: {e}"
            ) from e
        replicas, seen = self._single(value, target)
        status = {"type": "External", "external": {"metric": metric, "current": seen}}
        name = f"external metric {metric['name']}({metric.get('selector') or 'nil'})"
        return Proposal(replicas, name, status)

    def _single(self, value: int, target: Doc) -> tuple[int, Doc]:
        average = target.get("averageValue") is not None
        wanted = parse(target["averageValue" if average else "value"]).milli
        there = self._there if average else self._current
        ready = sum(1 for p in self._pods if is_ready(p))
        replicas = by_object(value, wanted, there, ready, self._tolerance, average=average)
        if not average:
            return replicas, {"value": _text(value)}
        return replicas, {"averageValue": _text(-(-value // max(there, 1)))}


def _counting(samples: Mapping[str, Sample], without: set[str]) -> dict[str, int]:
    return {name: s.value for name, s in samples.items() if name not in without}
