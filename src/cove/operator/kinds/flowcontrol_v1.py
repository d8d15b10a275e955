"""The types of flowcontrol/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.markers import Int32, ListMap, ListSet, Required

__all__ = [
    "ExemptPriorityLevelConfiguration",
    "FlowDistinguisherMethod",
    "FlowSchema",
    "FlowSchemaCondition",
    "FlowSchemaSpec",
    "FlowSchemaStatus",
    "GroupSubject",
    "LimitResponse",
    "LimitedPriorityLevelConfiguration",
    "NonResourcePolicyRule",
    "PolicyRulesWithSubjects",
    "PriorityLevelConfiguration",
    "PriorityLevelConfigurationCondition",
    "PriorityLevelConfigurationReference",
    "PriorityLevelConfigurationSpec",
    "PriorityLevelConfigurationStatus",
    "QueuingConfiguration",
    "ResourcePolicyRule",
    "ServiceAccountSubject",
    "Subject",
    "UserSubject",
]


class PriorityLevelConfigurationReference(Part):
    name: str


class FlowDistinguisherMethod(Part):
    type: str


class UserSubject(Part):
    name: str


class GroupSubject(Part):
    name: str


class ServiceAccountSubject(Part):
    namespace: str
    name: str


class Subject(Part):
    kind: str
    user: UserSubject | None = None
    group: GroupSubject | None = None
    service_account: ServiceAccountSubject | None = None


class ResourcePolicyRule(Part):
    verbs: Annotated[list[str], ListSet(), Required()] = []
    api_groups: Annotated[list[str], ListSet(), Required()] = []
    resources: Annotated[list[str], ListSet(), Required()] = []
    cluster_scope: bool = False
    namespaces: Annotated[list[str], ListSet()] = []


class NonResourcePolicyRule(Part):
    verbs: Annotated[list[str], ListSet(), Required()] = []
    non_resource_urls: Annotated[list[str], ListSet(), Required()] = field(
        default_factory=list, name="nonResourceURLs"
    )


class PolicyRulesWithSubjects(Part):
    subjects: Annotated[list[Subject], Required()] = []
    resource_rules: list[ResourcePolicyRule] = []
    non_resource_rules: list[NonResourcePolicyRule] = []


class FlowSchemaSpec(Part):
    priority_level_configuration: PriorityLevelConfigurationReference
    matching_precedence: Int32 = 0
    distinguisher_method: FlowDistinguisherMethod | None = None
    rules: list[PolicyRulesWithSubjects] = []


class FlowSchemaCondition(Part):
    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class FlowSchemaStatus(Part):
    conditions: Annotated[list[FlowSchemaCondition], ListMap("type")] = []


@builtin("flowcontrol.apiserver.k8s.io/v1", "flowschemas", scope="Cluster")
class FlowSchema(Kind):
    spec: FlowSchemaSpec
    status: FlowSchemaStatus = field(default_factory=FlowSchemaStatus)


class QueuingConfiguration(Part):
    queues: Int32 = 0
    hand_size: Int32 = 0
    queue_length_limit: Int32 = 0


class LimitResponse(Part):
    type: str
    queuing: QueuingConfiguration | None = None


class LimitedPriorityLevelConfiguration(Part):
    nominal_concurrency_shares: Int32 | None = None
    limit_response: LimitResponse
    lendable_percent: Int32 | None = None
    borrowing_limit_percent: Int32 | None = None


class ExemptPriorityLevelConfiguration(Part):
    nominal_concurrency_shares: Int32 | None = None
    lendable_percent: Int32 | None = None


class PriorityLevelConfigurationSpec(Part):
    type: str
    limited: LimitedPriorityLevelConfiguration | None = None
    exempt: ExemptPriorityLevelConfiguration | None = None


class PriorityLevelConfigurationCondition(Part):
    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""


class PriorityLevelConfigurationStatus(Part):
    conditions: Annotated[list[PriorityLevelConfigurationCondition], ListMap("type")] = []


@builtin("flowcontrol.apiserver.k8s.io/v1", "prioritylevelconfigurations", scope="Cluster")
class PriorityLevelConfiguration(Kind):
    spec: PriorityLevelConfigurationSpec
    status: PriorityLevelConfigurationStatus = field(
        default_factory=PriorityLevelConfigurationStatus
    )
