"""The types of rbac/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.kinds import meta_v1
from cove.operator.markers import MapAtomic, Required, mark

__all__ = [
    "AggregationRule",
    "ClusterRole",
    "ClusterRoleBinding",
    "PolicyRule",
    "Role",
    "RoleBinding",
    "RoleRef",
    "Subject",
]


@mark(MapAtomic())
class Subject(Part):
    kind: str
    api_group: str = ""
    name: str
    namespace: str = ""


@mark(MapAtomic())
class RoleRef(Part):
    api_group: str = ""
    kind: str
    name: str


@builtin("rbac.authorization.k8s.io/v1", "clusterrolebindings", scope="Cluster")
class ClusterRoleBinding(Kind):
    subjects: list[Subject] = []
    role_ref: RoleRef


class PolicyRule(Part):
    verbs: Annotated[list[str], Required()] = []
    api_groups: list[str] = []
    resources: list[str] = []
    resource_names: list[str] = []
    non_resource_urls: list[str] = field(default_factory=list, name="nonResourceURLs")


class AggregationRule(Part):
    cluster_role_selectors: list[meta_v1.LabelSelector] = []


@builtin("rbac.authorization.k8s.io/v1", "clusterroles", scope="Cluster")
class ClusterRole(Kind):
    rules: list[PolicyRule] = []
    aggregation_rule: AggregationRule | None = None


@builtin("rbac.authorization.k8s.io/v1", "rolebindings")
class RoleBinding(Kind):
    subjects: list[Subject] = []
    role_ref: RoleRef


@builtin("rbac.authorization.k8s.io/v1", "roles")
class Role(Kind):
    rules: list[PolicyRule] = []
