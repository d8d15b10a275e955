"""Behaviour: how fast, and how soon, an autoscaler follows what its metrics say.

Source: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

__all__ = ["Limited", "Memory", "follow"]

Doc = dict[str, Any]

# Without a behaviour: seconds that a lower wish has to last, and the pace upwards.
STABILIZATION = 300.0
LEAST_LIMIT, FACTOR = 4, 2

WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
)
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_FAST_UP = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
TOO_FAST_DOWN = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)
READY = ("ReadyForNewScale", "recommended size matches current size")
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent "
    "recommendation",
)


class Limited(NamedTuple):
    """A size, and why it is what it is: (reason, message) of AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: bool
    why: tuple[str, str]


class Memory:
    """What an autoscaler wished and did lately; moments are of a monotonic clock, in seconds."""

    def __init__(self, now: float, current: int) -> None:
        self.wishes: list[tuple[float, int]] = [(now, current)]
        self._changes: list[tuple[float, int]] = []

    def changed(self, now: float, by: int) -> None:
        """The target was scaled by so many pods."""
        # An hour is the longest period that a policy may have: 1,800 s, and some more.
        self._changes = [c for c in self._changes if now - c[0] <= 3600.0]
        self._changes.append((now, by))

    def started_with(self, now: float, period: float, current: int) -> int:
        """How many pods there were ``period`` seconds ago."""
        return current - sum(by for moment, by in self._changes if now - moment < period)

    def recent(self, now: float, window: float) -> list[int]:
        """The wishes of the last ``window`` seconds."""
        return [wish for moment, wish in self.wishes if now - moment < window]

    def wish(self, now: float, wish: int, longest: float) -> None:
        """Remember a wish for as long as a window may ask for it."""
        self.wishes = [w for w in self.wishes if now - w[0] < longest]
        self.wishes.append((now, wish))


def follow(
    memory: Memory, now: float, current: int, wish: int, least: int, most: int, behavior: Doc | None
) -> Limited:
    """The size to have now, of the size that the metrics wish for."""
    if behavior is None:
        held = max([wish, *memory.recent(now, STABILIZATION)])
        memory.wish(now, wish, STABILIZATION)
        able = READY if held == wish else DOWN_STABILIZED
        size, why = _plainly(current, held, least, most)
    else:
        held, able = _stabilized(memory, now, current, wish, behavior)
        size, why = _by_policies(memory, now, current, held, least, most, behavior)
    return Limited(size, able, size != held, why)


def _plainly(current: int, wish: int, least: int, most: int) -> tuple[int, tuple[str, str]]:
    fast = max(FACTOR * current, LEAST_LIMIT)
    limit, why = (fast, TOO_FAST_UP) if most > fast else (most, TOO_MANY)
    if wish < least:
        return least, TOO_FEW
    if wish > limit:
        return limit, why
    return wish, WITHIN


def _stabilized(
    memory: Memory, now: float, current: int, wish: int, behavior: Doc
) -> tuple[int, tuple[str, str]]:
    up = float((behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds") or 0)
    rules = behavior.get("scaleDown") or {}
    down = float(rules.get("stabilizationWindowSeconds", STABILIZATION) or 0)
    lowest = min([wish, *memory.recent(now, up)])
    highest = max([wish, *memory.recent(now, down)])
    memory.wish(now, wish, max(up, down, STABILIZATION))
    held = min(max(current, lowest), highest)
    if held == wish:
        return held, READY
    return held, UP_STABILIZED if wish > held else DOWN_STABILIZED


_UP: Doc = {
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ]
}
_DOWN: Doc = {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def _by_policies(
    memory: Memory, now: float, current: int, wish: int, least: int, most: int, behavior: Doc
) -> tuple[int, tuple[str, str]]:
    if wish > current:
        limit = max(_limit(memory, now, current, _UP | (behavior.get("scaleUp") or {}), 1), current)
        bound, why = (limit, TOO_FAST_UP) if most > limit else (most, TOO_MANY)
        return (bound, why) if wish > bound else (wish, WITHIN)
    if wish < current:
        rules = _DOWN | (behavior.get("scaleDown") or {})
        limit = min(_limit(memory, now, current, rules, -1), current)
        bound, why = (limit, TOO_FAST_DOWN) if least < limit else (least, TOO_FEW)
        return (bound, why) if wish < bound else (wish, WITHIN)
    return wish, WITHIN


def _limit(memory: Memory, now: float, current: int, rules: Doc, sign: int) -> int:
    """The size that the policies allow; by default the one that changes most."""
    select = rules.get("selectPolicy") or "Max"
    if select == "Disabled":
        return current
    proposals: list[int] = []
    for policy in rules.get("policies") or ():
        start = memory.started_with(now, float(policy["periodSeconds"]), current)
        if policy["type"] == "Pods":
            proposals.append(start + sign * policy["value"])
        elif sign > 0:
            proposals.append(math.ceil(start * (1 + policy["value"] / 100)))
        else:
            proposals.append(int(start * (1 - policy["value"] / 100)))
    if not proposals:
        return current
    return max(proposals) if (select == "Max") is (sign > 0) else min(proposals)
