"""The built-in kinds: one module per kind or small family, loaded when first asked for."""

from __future__ import annotations

from importlib import import_module

from cove.kube.kinds._kind import Column, Kind, Obj

__all__ = ["Column", "Kind", "Obj", "kind"]

# module → the kinds it defines as classes of the same name.
_MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        "core.configmap": ("ConfigMap",),
        "core.endpoints": ("Endpoints",),
        "core.event": ("Event",),
        "core.limitrange": ("LimitRange",),
        "core.namespace": ("Namespace",),
        "core.node": ("Node",),
        "core.persistentvolume": ("PersistentVolume",),
        "core.persistentvolumeclaim": ("PersistentVolumeClaim",),
        "core.pod": ("Pod",),
        "core.podtemplate": ("PodTemplate",),
        "core.replicationcontroller": ("ReplicationController",),
        "core.resourcequota": ("ResourceQuota",),
        "core.secret": ("Secret",),
        "core.service": ("Service",),
        "core.serviceaccount": ("ServiceAccount",),
    },
    "events.k8s.io": {"core.event": ("Event",)},
    "apps": {
        "apps.controllerrevision": ("ControllerRevision",),
        "apps.daemonset": ("DaemonSet",),
        "apps.deployment": ("Deployment",),
        "apps.replicaset": ("ReplicaSet",),
        "apps.statefulset": ("StatefulSet",),
    },
    "autoscaling": {"autoscaling": ("HorizontalPodAutoscaler",)},
    "batch": {"batch.cronjob": ("CronJob",), "batch.job": ("Job",)},
    "networking.k8s.io": {
        "networking.ingress": ("Ingress", "IngressClass"),
        "networking.networkpolicy": ("NetworkPolicy",),
        "networking.servicecidr": ("IPAddress", "ServiceCIDR"),
    },
    "policy": {"policy": ("PodDisruptionBudget",)},
    "rbac.authorization.k8s.io": {
        "rbac": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    },
    "storage.k8s.io": {
        "storage.csi": ("CSIDriver", "CSINode", "CSIStorageCapacity"),
        "storage.classes": ("StorageClass", "VolumeAttributesClass"),
        "storage.volumeattachment": ("VolumeAttachment",),
    },
    "admissionregistration.k8s.io": {
        "admission.policies": (
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ),
        "admission.webhooks": ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    },
    "certificates.k8s.io": {"certificates": ("CertificateSigningRequest",)},
    "coordination.k8s.io": {"coordination": ("Lease",)},
    "discovery.k8s.io": {"discovery": ("EndpointSlice",)},
    "flowcontrol.apiserver.k8s.io": {"flowcontrol": ("FlowSchema", "PriorityLevelConfiguration")},
    "node.k8s.io": {"runtimeclass": ("RuntimeClass",)},
    "resource.k8s.io": {
        "resource": ("DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice")
    },
    "scheduling.k8s.io": {"scheduling": ("PriorityClass",)},
    "apiregistration.k8s.io": {"apiregistration": ("APIService",)},
    "apiextensions.k8s.io": {"apiextensions": ("CustomResourceDefinition",)},
}

_WHERE = {
    (group, name): module
    for group, modules in _MODULES.items()
    for module, names in modules.items()
    for name in names
}

_known: dict[tuple[str, str], Kind] = {}


def kind(group: str, kind: str) -> Kind:
    """The behaviour of a kind of a group ("" is core); a plain Kind where cove knows nothing special.

    The instance is shared and holds no state.
    """
    found = _known.get((group, kind))
    if found is None:
        module = _WHERE.get((group, kind))
        if module is None:
            found = Kind()
        else:
            found = getattr(import_module(f"{__name__}.{module}"), kind)()
        found.group, found.kind = group, kind
        _known[(group, kind)] = found
    return found
