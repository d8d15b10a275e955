"""Replicas by metrics: how many pods would bring a metric to its target.

All amounts are thousandths.  Pods that are not ready, or whose metric is missing, count so
that the answer errs on the side of changing less.

Source: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cove.controllers._conditions import find
from cove.kube.times import parse_time

__all__ = ["NoMetricsError", "Sample", "Tolerance", "by_object", "by_pods", "grouped"]

Doc = dict[str, Any]

# kube-controller-manager's --horizontal-pod-autoscaler-cpu-initialization-period and
# --horizontal-pod-autoscaler-initial-readiness-delay.
INITIALIZATION = timedelta(minutes=5)
READINESS_DELAY = timedelta(seconds=30)


class NoMetricsError(Exception):
    """A metric cannot be had, or says nothing; the text is the condition's and the event's."""


class Sample(NamedTuple):
    """One pod's metric."""

    value: int
    moment: datetime
    window: timedelta


class Tolerance(NamedTuple):
    """How far a ratio may be from 1 before anything is done."""

    down: float
    up: float

    def holds(self, ratio: float) -> bool:
        """Whether nothing is to be done."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Groups(NamedTuple):
    """Names of pods: how many are ready, and which do not count as they are."""

    ready: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]


def grouped(
    pods: Iterable[Doc], samples: Mapping[str, Sample], now: datetime, *, cpu: bool
) -> Groups:
    """Pods by how their metric counts; cpu says little of a pod that has just started."""
    ready = 0
    unready: set[str] = set()
    missing: set[str] = set()
    ignored: set[str] = set()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        if "deletionTimestamp" in pod["metadata"] or status.get("phase") == "Failed":
            ignored.add(name)
        elif status.get("phase") == "Pending":
            unready.add(name)
        elif name not in samples:
            missing.add(name)
        elif cpu and _starting(status, samples[name], now):
            unready.add(name)
        else:
            ready += 1
    return Groups(ready, unready, missing, ignored)


def _starting(status: Doc, sample: Sample, now: datetime) -> bool:
    condition = find(status.get("conditions"), "Ready")
    if condition is None or not status.get("startTime"):
        return True
    started = parse_time(status["startTime"])
    since = parse_time(condition["lastTransitionTime"])
    if started + INITIALIZATION > now:
        # While it starts its metric counts once it covers a whole window of being ready.
        return condition["status"] == "False" or sample.moment < since + sample.window
    return condition["status"] == "False" and started + READINESS_DELAY > since


def by_pods(
    values: dict[str, int],
    groups: Groups,
    current: int,
    tolerance: Tolerance,
    ratio_of: Callable[[Mapping[str, int]], float],
    fallback: Callable[[str], int],
) -> int:
    """The size for a metric that every pod has; raises NoMetricsError.

    ``values`` are those of pods that are neither ignored nor unready; ``ratio_of`` is how
    far such values are above the target (1.0: at it); ``fallback`` is what a pod without a
    metric counts with when there would be fewer pods.
    """
    if not values:
        raise NoMetricsError("did not receive metrics for targeted pods (pods might be unready)")
    ratio = ratio_of(values)
    rising = bool(groups.unready) and ratio > 1.0
    if not rising and not groups.missing:
        return current if tolerance.holds(ratio) else math.ceil(ratio * groups.ready)
    values = dict(values)
    for name in groups.missing:
        if ratio < 1.0:
            values[name] = fallback(name)
        elif ratio > 1.0:
            values[name] = 0
    if rising:
        values.update(dict.fromkeys(groups.unready, 0))
    again = ratio_of(values)
    if tolerance.holds(again) or (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return current
    wish = math.ceil(again * len(values))
    if (again < 1.0 and wish > current) or (again > 1.0 and wish < current):
        return current
    return wish


def by_object(
    value: int, target: int, current: int, ready: int, tolerance: Tolerance, *, average: bool
) -> int:
    """The size for a number that is not any pod's; ``average``: it is shared by all pods."""
    if average:
        ratio = value / (target * current) if current else math.inf
        return current if tolerance.holds(ratio) else math.ceil(value / target)
    ratio = value / target
    if not current:
        return math.ceil(ratio)
    return current if tolerance.holds(ratio) else math.ceil(ratio * ready)
