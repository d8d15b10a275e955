"""The built-in kinds, typed: ``from cove.operator.kinds import Deployment``.

What kinds are made of is in the module of their group and version:
``from cove.operator.kinds.core_v1 import Container``.  A module is loaded when something
of it is first named.  Made by ``scripts/generate_kinds.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.operator.kinds.admissionregistration_v1 import (
        MutatingAdmissionPolicy,
        MutatingAdmissionPolicyBinding,
        MutatingWebhookConfiguration,
        ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding,
        ValidatingWebhookConfiguration,
    )
    from cove.operator.kinds.apiextensions_v1 import CustomResourceDefinition
    from cove.operator.kinds.apiregistration_v1 import APIService
    from cove.operator.kinds.apps_v1 import (
        ControllerRevision,
        DaemonSet,
        Deployment,
        ReplicaSet,
        StatefulSet,
    )
    from cove.operator.kinds.authentication_v1 import SelfSubjectReview, TokenReview
    from cove.operator.kinds.authorization_v1 import (
        LocalSubjectAccessReview,
        SelfSubjectAccessReview,
        SelfSubjectRulesReview,
        SubjectAccessReview,
    )
    from cove.operator.kinds.autoscaling_v2 import HorizontalPodAutoscaler
    from cove.operator.kinds.batch_v1 import CronJob, Job
    from cove.operator.kinds.certificates_v1 import CertificateSigningRequest
    from cove.operator.kinds.coordination_v1 import Lease
    from cove.operator.kinds.core_v1 import (
        Binding,
        ComponentStatus,
        ConfigMap,
        Endpoints,
        Event,
        LimitRange,
        Namespace,
        Node,
        PersistentVolume,
        PersistentVolumeClaim,
        Pod,
        PodTemplate,
        ReplicationController,
        ResourceQuota,
        Secret,
        Service,
        ServiceAccount,
    )
    from cove.operator.kinds.discovery_v1 import EndpointSlice
    from cove.operator.kinds.flowcontrol_v1 import FlowSchema, PriorityLevelConfiguration
    from cove.operator.kinds.networking_v1 import (
        Ingress,
        IngressClass,
        IPAddress,
        NetworkPolicy,
        ServiceCIDR,
    )
    from cove.operator.kinds.node_v1 import RuntimeClass
    from cove.operator.kinds.policy_v1 import PodDisruptionBudget
    from cove.operator.kinds.rbac_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding
    from cove.operator.kinds.resource_v1 import (
        DeviceClass,
        ResourceClaim,
        ResourceClaimTemplate,
        ResourceSlice,
    )
    from cove.operator.kinds.scheduling_v1 import PriorityClass
    from cove.operator.kinds.storage_v1 import (
        CSIDriver,
        CSINode,
        CSIStorageCapacity,
        StorageClass,
        VolumeAttachment,
        VolumeAttributesClass,
    )

_HOMES = {
    "admissionregistration_v1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
    "apiextensions_v1": "CustomResourceDefinition",
    "apiregistration_v1": "APIService",
    "apps_v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "authentication_v1": "SelfSubjectReview TokenReview",
    "authorization_v1": "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview",
    "autoscaling_v2": "HorizontalPodAutoscaler",
    "batch_v1": "CronJob Job",
    "certificates_v1": "CertificateSigningRequest",
    "coordination_v1": "Lease",
    "core_v1": "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
    "discovery_v1": "EndpointSlice",
    "flowcontrol_v1": "FlowSchema PriorityLevelConfiguration",
    "networking_v1": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "node_v1": "RuntimeClass",
    "policy_v1": "PodDisruptionBudget",
    "rbac_v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "resource_v1": "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
    "scheduling_v1": "PriorityClass",
    "storage_v1": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = [
    "APIService",
    "Binding",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ComponentStatus",
    "ConfigMap",
    "ControllerRevision",
    "CronJob",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "DeviceClass",
    "EndpointSlice",
    "Endpoints",
    "Event",
    "FlowSchema",
    "HorizontalPodAutoscaler",
    "IPAddress",
    "Ingress",
    "IngressClass",
    "Job",
    "Lease",
    "LimitRange",
    "LocalSubjectAccessReview",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "NetworkPolicy",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PodTemplate",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ReplicaSet",
    "ReplicationController",
    "ResourceClaim",
    "ResourceClaimTemplate",
    "ResourceQuota",
    "ResourceSlice",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "Secret",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "Service",
    "ServiceAccount",
    "ServiceCIDR",
    "StatefulSet",
    "StorageClass",
    "SubjectAccessReview",
    "TokenReview",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'cove.operator.kinds' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"cove.operator.kinds.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
