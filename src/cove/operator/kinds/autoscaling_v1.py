"""The types of autoscaling/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.markers import Int32, MapAtomic, Required, mark

__all__ = [
    "CrossVersionObjectReference",
    "HorizontalPodAutoscaler",
    "HorizontalPodAutoscalerSpec",
    "HorizontalPodAutoscalerStatus",
]


@mark(MapAtomic())
class CrossVersionObjectReference(Part):
    kind: str
    name: str
    api_version: str = ""


class HorizontalPodAutoscalerSpec(Part):
    scale_target_ref: CrossVersionObjectReference
    min_replicas: Int32 | None = None
    max_replicas: Int32
    target_cpu_utilization_percentage: Int32 | None = field(
        default=None, name="targetCPUUtilizationPercentage"
    )


class HorizontalPodAutoscalerStatus(Part):
    observed_generation: int | None = None
    last_scale_time: datetime | None = None
    current_replicas: Annotated[Int32, Required()] = 0
    desired_replicas: Annotated[Int32, Required()] = 0
    current_cpu_utilization_percentage: Int32 | None = field(
        default=None, name="currentCPUUtilizationPercentage"
    )


@builtin("autoscaling/v1", "horizontalpodautoscalers", short_names=("hpa",), categories=("all",))
class HorizontalPodAutoscaler(Kind):
    spec: HorizontalPodAutoscalerSpec
    status: HorizontalPodAutoscalerStatus = field(default_factory=HorizontalPodAutoscalerStatus)
