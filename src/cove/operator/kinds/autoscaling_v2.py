"""The types of autoscaling/v2, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import meta_v1
from cove.operator.markers import Int32, ListMap, Quantity, Required

__all__ = [
    "ContainerResourceMetricSource",
    "ContainerResourceMetricStatus",
    "CrossVersionObjectReference",
    "ExternalMetricSource",
    "ExternalMetricStatus",
    "HPAScalingPolicy",
    "HPAScalingRules",
    "HorizontalPodAutoscaler",
    "HorizontalPodAutoscalerBehavior",
    "HorizontalPodAutoscalerCondition",
    "HorizontalPodAutoscalerSpec",
    "HorizontalPodAutoscalerStatus",
    "MetricIdentifier",
    "MetricSpec",
    "MetricStatus",
    "MetricTarget",
    "MetricValueStatus",
    "ObjectMetricSource",
    "ObjectMetricStatus",
    "PodsMetricSource",
    "PodsMetricStatus",
    "ResourceMetricSource",
    "ResourceMetricStatus",
]


class CrossVersionObjectReference(Part):
    kind: str
    name: str
    api_version: str = ""


class MetricTarget(Part):
    type: str
    value: Quantity | None = None
    average_value: Quantity | None = None
    average_utilization: Int32 | None = None


class MetricIdentifier(Part):
    name: str
    selector: meta_v1.LabelSelector | None = None


class ObjectMetricSource(Part):
    described_object: CrossVersionObjectReference
    target: MetricTarget
    metric: MetricIdentifier


class PodsMetricSource(Part):
    metric: MetricIdentifier
    target: MetricTarget


class ResourceMetricSource(Part):
    name: str
    target: MetricTarget


class ContainerResourceMetricSource(Part):
    name: str
    target: MetricTarget
    container: str


class ExternalMetricSource(Part):
    metric: MetricIdentifier
    target: MetricTarget


class MetricSpec(Part):
    type: str
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None
    container_resource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None


class HPAScalingPolicy(Part):
    type: str
    value: Int32
    period_seconds: Int32


class HPAScalingRules(Part):
    stabilization_window_seconds: Int32 | None = None
    select_policy: str | None = None
    policies: list[HPAScalingPolicy] = []
    tolerance: Quantity | None = None


class HorizontalPodAutoscalerBehavior(Part):
    scale_up: HPAScalingRules | None = None
    scale_down: HPAScalingRules | None = None


class HorizontalPodAutoscalerSpec(Part):
    scale_target_ref: CrossVersionObjectReference
    min_replicas: Int32 | None = None
    max_replicas: Int32
    metrics: list[MetricSpec] = []
    behavior: HorizontalPodAutoscalerBehavior | None = None


class MetricValueStatus(Part):
    value: Quantity | None = None
    average_value: Quantity | None = None
    average_utilization: Int32 | None = None


class ObjectMetricStatus(Part):
    metric: MetricIdentifier
    current: MetricValueStatus
    described_object: CrossVersionObjectReference


class PodsMetricStatus(Part):
    metric: MetricIdentifier
    current: MetricValueStatus


class ResourceMetricStatus(Part):
    name: str
    current: MetricValueStatus


class ContainerResourceMetricStatus(Part):
    name: str
    current: MetricValueStatus
    container: str


class ExternalMetricStatus(Part):
    metric: MetricIdentifier
    current: MetricValueStatus


class MetricStatus(Part):
    type: str
    object: ObjectMetricStatus | None = None
    pods: PodsMetricStatus | None = None
    resource: ResourceMetricStatus | None = None
    container_resource: ContainerResourceMetricStatus | None = None
    external: ExternalMetricStatus | None = None


class HorizontalPodAutoscalerCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class HorizontalPodAutoscalerStatus(Part):
    observed_generation: int | None = None
    last_scale_time: datetime | None = None
    current_replicas: Int32 = 0
    desired_replicas: Annotated[Int32, Required()] = 0
    current_metrics: list[MetricStatus] = []
    conditions: Annotated[list[HorizontalPodAutoscalerCondition], ListMap("type")] = []


@builtin("autoscaling/v2", "horizontalpodautoscalers", short_names=("hpa",), categories=("all",))
class HorizontalPodAutoscaler(Kind):
    spec: HorizontalPodAutoscalerSpec
    status: HorizontalPodAutoscalerStatus = field(default_factory=HorizontalPodAutoscalerStatus)
