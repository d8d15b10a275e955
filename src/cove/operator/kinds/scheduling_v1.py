"""The types of scheduling/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from cove.operator.entities import Kind, builtin
from cove.operator.markers import Int32

__all__ = ["PriorityClass"]


@builtin("scheduling.k8s.io/v1", "priorityclasses", short_names=("pc",), scope="Cluster")
class PriorityClass(Kind):
    value: Int32 = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None
