"""The types of apps/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import core_v1, meta_v1
from cove.operator.markers import Int32, IntOrString, ListMap, Required

__all__ = [
    "ControllerRevision",
    "DaemonSet",
    "DaemonSetCondition",
    "DaemonSetSpec",
    "DaemonSetStatus",
    "DaemonSetUpdateStrategy",
    "Deployment",
    "DeploymentCondition",
    "DeploymentSpec",
    "DeploymentStatus",
    "DeploymentStrategy",
    "ReplicaSet",
    "ReplicaSetCondition",
    "ReplicaSetSpec",
    "ReplicaSetStatus",
    "RollingUpdateDaemonSet",
    "RollingUpdateDeployment",
    "RollingUpdateStatefulSetStrategy",
    "StatefulSet",
    "StatefulSetCondition",
    "StatefulSetOrdinals",
    "StatefulSetPersistentVolumeClaimRetentionPolicy",
    "StatefulSetSpec",
    "StatefulSetStatus",
    "StatefulSetUpdateStrategy",
]


@builtin("apps/v1", "controllerrevisions")
class ControllerRevision(Kind):
    data: Any = None
    revision: int


class RollingUpdateDaemonSet(Part):
    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DaemonSetUpdateStrategy(Part):
    type: str = ""
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(Part):
    selector: meta_v1.LabelSelector
    template: core_v1.PodTemplateSpec
    update_strategy: DaemonSetUpdateStrategy = field(default_factory=DaemonSetUpdateStrategy)
    min_ready_seconds: Int32 = 0
    revision_history_limit: Int32 | None = None


class DaemonSetCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class DaemonSetStatus(Part):
    current_number_scheduled: Annotated[Int32, Required()] = 0
    number_misscheduled: Annotated[Int32, Required()] = 0
    desired_number_scheduled: Annotated[Int32, Required()] = 0
    number_ready: Annotated[Int32, Required()] = 0
    observed_generation: int = 0
    updated_number_scheduled: Int32 = 0
    number_available: Int32 = 0
    number_unavailable: Int32 = 0
    collision_count: Int32 | None = None
    conditions: Annotated[list[DaemonSetCondition], ListMap("type")] = []


@builtin("apps/v1", "daemonsets", short_names=("ds",), categories=("all",))
class DaemonSet(Kind):
    spec: DaemonSetSpec
    status: DaemonSetStatus = field(default_factory=DaemonSetStatus)


class RollingUpdateDeployment(Part):
    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DeploymentStrategy(Part):
    type: str = ""
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(Part):
    replicas: Int32 | None = None
    selector: meta_v1.LabelSelector
    template: core_v1.PodTemplateSpec
    strategy: DeploymentStrategy = field(default_factory=DeploymentStrategy)
    min_ready_seconds: Int32 = 0
    revision_history_limit: Int32 | None = None
    paused: bool = False
    progress_deadline_seconds: Int32 | None = None


class DeploymentCondition(Part):
    type: str
    status: str
    last_update_time: datetime | None = None
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class DeploymentStatus(Part):
    observed_generation: int = 0
    replicas: Int32 = 0
    updated_replicas: Int32 = 0
    ready_replicas: Int32 = 0
    available_replicas: Int32 = 0
    unavailable_replicas: Int32 = 0
    terminating_replicas: Int32 | None = None
    conditions: Annotated[list[DeploymentCondition], ListMap("type")] = []
    collision_count: Int32 | None = None


@builtin("apps/v1", "deployments", short_names=("deploy",), categories=("all",))
class Deployment(Kind):
    spec: DeploymentSpec
    status: DeploymentStatus = field(default_factory=DeploymentStatus)


class ReplicaSetSpec(Part):
    replicas: Int32 | None = None
    min_ready_seconds: Int32 = 0
    selector: meta_v1.LabelSelector
    template: core_v1.PodTemplateSpec = field(default_factory=core_v1.PodTemplateSpec)


class ReplicaSetCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class ReplicaSetStatus(Part):
    replicas: Annotated[Int32, Required()] = 0
    fully_labeled_replicas: Int32 = 0
    ready_replicas: Int32 = 0
    available_replicas: Int32 = 0
    terminating_replicas: Int32 | None = None
    observed_generation: int = 0
    conditions: Annotated[list[ReplicaSetCondition], ListMap("type")] = []


@builtin("apps/v1", "replicasets", short_names=("rs",), categories=("all",))
class ReplicaSet(Kind):
    spec: ReplicaSetSpec
    status: ReplicaSetStatus = field(default_factory=ReplicaSetStatus)


class RollingUpdateStatefulSetStrategy(Part):
    partition: Int32 | None = None
    max_unavailable: IntOrString | None = None


class StatefulSetUpdateStrategy(Part):
    type: str = ""
    rolling_update: RollingUpdateStatefulSetStrategy | None = None


class StatefulSetPersistentVolumeClaimRetentionPolicy(Part):
    when_deleted: str = ""
    when_scaled: str = ""


class StatefulSetOrdinals(Part):
    start: Int32 = 0


class StatefulSetSpec(Part):
    replicas: Int32 | None = None
    selector: meta_v1.LabelSelector
    template: core_v1.PodTemplateSpec
    volume_claim_templates: list[core_v1.PersistentVolumeClaim] = []
    service_name: str = ""
    pod_management_policy: str = ""
    update_strategy: StatefulSetUpdateStrategy = field(default_factory=StatefulSetUpdateStrategy)
    revision_history_limit: Int32 | None = None
    min_ready_seconds: Int32 = 0
    persistent_volume_claim_retention_policy: (
        StatefulSetPersistentVolumeClaimRetentionPolicy | None
    ) = None
    ordinals: StatefulSetOrdinals | None = None


class StatefulSetCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class StatefulSetStatus(Part):
    observed_generation: int = 0
    replicas: Annotated[Int32, Required()] = 0
    ready_replicas: Int32 = 0
    current_replicas: Int32 = 0
    updated_replicas: Int32 = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: Int32 | None = None
    conditions: Annotated[list[StatefulSetCondition], ListMap("type")] = []
    available_replicas: Int32 = 0


@builtin("apps/v1", "statefulsets", short_names=("sts",), categories=("all",))
class StatefulSet(Kind):
    spec: StatefulSetSpec
    status: StatefulSetStatus = field(default_factory=StatefulSetStatus)
