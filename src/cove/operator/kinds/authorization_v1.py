"""The types of authorization/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import meta_v1
from cove.operator.markers import Required

__all__ = [
    "FieldSelectorAttributes",
    "LabelSelectorAttributes",
    "LocalSubjectAccessReview",
    "NonResourceAttributes",
    "NonResourceRule",
    "ResourceAttributes",
    "ResourceRule",
    "SelfSubjectAccessReview",
    "SelfSubjectAccessReviewSpec",
    "SelfSubjectRulesReview",
    "SelfSubjectRulesReviewSpec",
    "SubjectAccessReview",
    "SubjectAccessReviewSpec",
    "SubjectAccessReviewStatus",
    "SubjectRulesReviewStatus",
]


class FieldSelectorAttributes(Part):
    raw_selector: str = ""
    requirements: list[meta_v1.FieldSelectorRequirement] = []


class LabelSelectorAttributes(Part):
    raw_selector: str = ""
    requirements: list[meta_v1.LabelSelectorRequirement] = []


class ResourceAttributes(Part):
    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    field_selector: FieldSelectorAttributes | None = None
    label_selector: LabelSelectorAttributes | None = None


class NonResourceAttributes(Part):
    path: str = ""
    verb: str = ""


class SubjectAccessReviewSpec(Part):
    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: NonResourceAttributes | None = None
    user: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    uid: str = ""


class SubjectAccessReviewStatus(Part):
    allowed: Annotated[bool, Required()] = False
    denied: bool = False
    reason: str = ""
    evaluation_error: str = ""


@builtin("authorization.k8s.io/v1", "localsubjectaccessreviews")
class LocalSubjectAccessReview(Kind):
    spec: SubjectAccessReviewSpec
    status: SubjectAccessReviewStatus = field(default_factory=SubjectAccessReviewStatus)


class SelfSubjectAccessReviewSpec(Part):
    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: NonResourceAttributes | None = None


@builtin("authorization.k8s.io/v1", "selfsubjectaccessreviews", scope="Cluster")
class SelfSubjectAccessReview(Kind):
    spec: SelfSubjectAccessReviewSpec
    status: SubjectAccessReviewStatus = field(default_factory=SubjectAccessReviewStatus)


class SelfSubjectRulesReviewSpec(Part):
    namespace: str = ""


class ResourceRule(Part):
    verbs: Annotated[list[str], Required()] = []
    api_groups: list[str] = []
    resources: list[str] = []
    resource_names: list[str] = []


class NonResourceRule(Part):
    verbs: Annotated[list[str], Required()] = []
    non_resource_urls: list[str] = field(default_factory=list, name="nonResourceURLs")


class SubjectRulesReviewStatus(Part):
    resource_rules: Annotated[list[ResourceRule], Required()] = []
    non_resource_rules: Annotated[list[NonResourceRule], Required()] = []
    incomplete: Annotated[bool, Required()] = False
    evaluation_error: str = ""


@builtin("authorization.k8s.io/v1", "selfsubjectrulesreviews", scope="Cluster")
class SelfSubjectRulesReview(Kind):
    spec: SelfSubjectRulesReviewSpec
    status: SubjectRulesReviewStatus = field(default_factory=SubjectRulesReviewStatus)


@builtin("authorization.k8s.io/v1", "subjectaccessreviews", scope="Cluster")
class SubjectAccessReview(Kind):
    spec: SubjectAccessReviewSpec
    status: SubjectAccessReviewStatus = field(default_factory=SubjectAccessReviewStatus)
