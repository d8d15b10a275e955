"""The types of admissionregistration/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import meta_v1
from cove.operator.markers import Int32, ListMap, ListSet, MapAtomic, Required, mark

__all__ = [
    "ApplyConfiguration",
    "AuditAnnotation",
    "ExpressionWarning",
    "JSONPatch",
    "MatchCondition",
    "MatchResources",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicyBindingSpec",
    "MutatingAdmissionPolicySpec",
    "MutatingWebhook",
    "MutatingWebhookConfiguration",
    "Mutation",
    "NamedRuleWithOperations",
    "ParamKind",
    "ParamRef",
    "RuleWithOperations",
    "ServiceReference",
    "TypeChecking",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicyBindingSpec",
    "ValidatingAdmissionPolicySpec",
    "ValidatingAdmissionPolicyStatus",
    "ValidatingWebhook",
    "ValidatingWebhookConfiguration",
    "Validation",
    "Variable",
    "WebhookClientConfig",
]


@mark(MapAtomic())
class ParamKind(Part):
    api_version: str = ""
    kind: str = ""


@mark(MapAtomic())
class NamedRuleWithOperations(Part):
    resource_names: list[str] = []
    operations: list[str] = []
    api_groups: list[str] = []
    api_versions: list[str] = []
    resources: list[str] = []
    scope: str | None = None


@mark(MapAtomic())
class MatchResources(Part):
    namespace_selector: meta_v1.LabelSelector | None = None
    object_selector: meta_v1.LabelSelector | None = None
    resource_rules: list[NamedRuleWithOperations] = []
    exclude_resource_rules: list[NamedRuleWithOperations] = []
    match_policy: str | None = None


@mark(MapAtomic())
class Variable(Part):
    name: str
    expression: str


class ApplyConfiguration(Part):
    expression: str = ""


class JSONPatch(Part):
    expression: str = ""


class Mutation(Part):
    patch_type: str
    apply_configuration: ApplyConfiguration | None = None
    json_patch: JSONPatch | None = None


class MatchCondition(Part):
    name: str
    expression: str


class MutatingAdmissionPolicySpec(Part):
    param_kind: ParamKind | None = None
    match_constraints: MatchResources | None = None
    variables: list[Variable] = []
    mutations: list[Mutation] = []
    failure_policy: str | None = None
    match_conditions: Annotated[list[MatchCondition], ListMap("name")] = []
    reinvocation_policy: str = ""


@builtin(
    "admissionregistration.k8s.io/v1",
    "mutatingadmissionpolicies",
    categories=("api-extensions",),
    scope="Cluster",
)
class MutatingAdmissionPolicy(Kind):
    spec: MutatingAdmissionPolicySpec = field(default_factory=MutatingAdmissionPolicySpec)


@mark(MapAtomic())
class ParamRef(Part):
    name: str = ""
    namespace: str = ""
    selector: meta_v1.LabelSelector | None = None
    parameter_not_found_action: str | None = None


class MutatingAdmissionPolicyBindingSpec(Part):
    policy_name: str = ""
    param_ref: ParamRef | None = None
    match_resources: MatchResources | None = None


@builtin(
    "admissionregistration.k8s.io/v1",
    "mutatingadmissionpolicybindings",
    categories=("api-extensions",),
    scope="Cluster",
)
class MutatingAdmissionPolicyBinding(Kind):
    spec: MutatingAdmissionPolicyBindingSpec = field(
        default_factory=MutatingAdmissionPolicyBindingSpec
    )


class ServiceReference(Part):
    namespace: str
    name: str
    path: str | None = None
    port: Int32 | None = None


class WebhookClientConfig(Part):
    url: str | None = None
    service: ServiceReference | None = None
    ca_bundle: bytes = b""


class RuleWithOperations(Part):
    operations: list[str] = []
    api_groups: list[str] = []
    api_versions: list[str] = []
    resources: list[str] = []
    scope: str | None = None


class MutatingWebhook(Part):
    name: str
    client_config: WebhookClientConfig
    rules: list[RuleWithOperations] = []
    failure_policy: str | None = None
    match_policy: str | None = None
    namespace_selector: meta_v1.LabelSelector | None = None
    object_selector: meta_v1.LabelSelector | None = None
    side_effects: str
    timeout_seconds: Int32 | None = None
    admission_review_versions: Annotated[list[str], Required()] = []
    reinvocation_policy: str | None = None
    match_conditions: Annotated[list[MatchCondition], ListMap("name")] = []


@builtin(
    "admissionregistration.k8s.io/v1",
    "mutatingwebhookconfigurations",
    categories=("api-extensions",),
    scope="Cluster",
)
class MutatingWebhookConfiguration(Kind):
    webhooks: Annotated[list[MutatingWebhook], ListMap("name")] = []


class Validation(Part):
    expression: str
    message: str = ""
    reason: str | None = None
    message_expression: str = ""


class AuditAnnotation(Part):
    key: str
    value_expression: str


class ValidatingAdmissionPolicySpec(Part):
    param_kind: ParamKind | None = None
    match_constraints: MatchResources | None = None
    validations: list[Validation] = []
    failure_policy: str | None = None
    audit_annotations: list[AuditAnnotation] = []
    match_conditions: Annotated[list[MatchCondition], ListMap("name")] = []
    variables: Annotated[list[Variable], ListMap("name")] = []


class ExpressionWarning(Part):
    field_ref: str
    warning: str


class TypeChecking(Part):
    expression_warnings: list[ExpressionWarning] = []


class ValidatingAdmissionPolicyStatus(Part):
    observed_generation: int = 0
    type_checking: TypeChecking | None = None
    conditions: Annotated[list[meta_v1.Condition], ListMap("type")] = []


@builtin(
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicies",
    categories=("api-extensions",),
    scope="Cluster",
)
class ValidatingAdmissionPolicy(Kind):
    spec: ValidatingAdmissionPolicySpec = field(default_factory=ValidatingAdmissionPolicySpec)
    status: ValidatingAdmissionPolicyStatus = field(default_factory=ValidatingAdmissionPolicyStatus)


class ValidatingAdmissionPolicyBindingSpec(Part):
    policy_name: Annotated[str, Required()] = ""
    param_ref: ParamRef | None = None
    match_resources: MatchResources | None = None
    validation_actions: Annotated[list[str], ListSet(), Required()] = []


@builtin(
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicybindings",
    categories=("api-extensions",),
    scope="Cluster",
)
class ValidatingAdmissionPolicyBinding(Kind):
    spec: ValidatingAdmissionPolicyBindingSpec


class ValidatingWebhook(Part):
    name: str
    client_config: WebhookClientConfig
    rules: list[RuleWithOperations] = []
    failure_policy: str | None = None
    match_policy: str | None = None
    namespace_selector: meta_v1.LabelSelector | None = None
    object_selector: meta_v1.LabelSelector | None = None
    side_effects: str
    timeout_seconds: Int32 | None = None
    admission_review_versions: Annotated[list[str], Required()] = []
    match_conditions: Annotated[list[MatchCondition], ListMap("name")] = []


@builtin(
    "admissionregistration.k8s.io/v1",
    "validatingwebhookconfigurations",
    categories=("api-extensions",),
    scope="Cluster",
)
class ValidatingWebhookConfiguration(Kind):
    webhooks: Annotated[list[ValidatingWebhook], ListMap("name")] = []
