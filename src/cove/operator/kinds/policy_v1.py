"""The types of policy/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import meta_v1
from cove.operator.markers import Int32, IntOrString, ListMap

__all__ = ["PodDisruptionBudget", "PodDisruptionBudgetSpec", "PodDisruptionBudgetStatus"]


class PodDisruptionBudgetSpec(Part):
    min_available: IntOrString | None = None
    selector: meta_v1.LabelSelector | None = None
    max_unavailable: IntOrString | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(Part):
    observed_generation: int = 0
    disrupted_pods: dict[str, datetime] = {}
    disruptions_allowed: Int32 = 0
    current_healthy: Int32 = 0
    desired_healthy: Int32 = 0
    expected_pods: Int32 = 0
    conditions: Annotated[list[meta_v1.Condition], ListMap("type")] = []


@builtin("policy/v1", "poddisruptionbudgets", short_names=("pdb",))
class PodDisruptionBudget(Kind):
    spec: PodDisruptionBudgetSpec = field(default_factory=PodDisruptionBudgetSpec)
    status: PodDisruptionBudgetStatus = field(default_factory=PodDisruptionBudgetStatus)
