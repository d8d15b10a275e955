"""Which plugins there are, in upstream's order, and which are on by default.

Source: ``pkg/kubeapiserver/options/plugins.go`` of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from cove.kube.status import CoveError
from cove.server.admission._chain import Admission, Plugin

__all__ = ["DEFAULT", "KNOWN", "UnknownPluginError", "build"]

# name → (module, class); None where upstream's plugin concerns clouds, another protocol
# or hardware that does not exist here: the name is accepted and does nothing.
_MODULES: dict[str, tuple[str, str] | None] = {
    "AlwaysAdmit": None,
    "NamespaceAutoProvision": ("namespaces", "NamespaceAutoProvision"),
    "NamespaceLifecycle": ("namespaces", "NamespaceLifecycle"),
    "NamespaceExists": ("namespaces", "NamespaceExists"),
    "LimitRanger": ("limitranger", "LimitRanger"),
    "ServiceAccount": ("serviceaccount", "ServiceAccount"),
    "NodeRestriction": None,
    "TaintNodesByCondition": ("nodes", "TaintNodesByCondition"),
    "AlwaysPullImages": ("pods", "AlwaysPullImages"),
    "ImagePolicyWebhook": None,
    "PodSecurity": ("podsecurity", "PodSecurity"),
    "PodNodeSelector": None,
    "Priority": ("priority", "Priority"),
    "DefaultTolerationSeconds": ("pods", "DefaultTolerationSeconds"),
    "PodTolerationRestriction": None,
    "EventRateLimit": None,
    "ExtendedResourceToleration": ("pods", "ExtendedResourceToleration"),
    "DefaultStorageClass": ("storage", "DefaultStorageClass"),
    "StorageObjectInUseProtection": ("storage", "StorageObjectInUseProtection"),
    "OwnerReferencesPermissionEnforcement": None,
    "PersistentVolumeClaimResize": ("storage", "PersistentVolumeClaimResize"),
    "RuntimeClass": ("runtimeclass", "RuntimeClass"),
    "CertificateApproval": ("certificates", "CertificateApproval"),
    "CertificateSigning": ("certificates", "CertificateSigning"),
    "ClusterTrustBundleAttest": None,
    "CertificateSubjectRestriction": ("certificates", "CertificateSubjectRestriction"),
    "DefaultIngressClass": ("ingress", "DefaultIngressClass"),
    "DenyServiceExternalIPs": ("ingress", "DenyServiceExternalIPs"),
    "PodTopologyLabels": ("pods", "PodTopologyLabels"),
    "MutatingAdmissionPolicy": ("policies.mutating", "MutatingAdmissionPolicy"),
    "MutatingAdmissionWebhook": ("webhooks.mutating", "MutatingAdmissionWebhook"),
    "ValidatingAdmissionPolicy": ("policies.validating", "ValidatingAdmissionPolicy"),
    "ValidatingAdmissionWebhook": ("webhooks.validating", "ValidatingAdmissionWebhook"),
    "ResourceQuota": ("resourcequota", "ResourceQuota"),
    "AlwaysDeny": None,
}

KNOWN = frozenset(_MODULES)

DEFAULT = frozenset(
    (
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "TaintNodesByCondition",
        "PodSecurity",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "ClusterTrustBundleAttest",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "PodTopologyLabels",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
        "ResourceQuota",
    )
)


class UnknownPluginError(CoveError):
    """An admission plugin that does not exist was named."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'there is no admission plugin "{name}"; known are: {", ".join(sorted(KNOWN))}'
        )
        self.name = name


def build(enable: Iterable[str] = (), disable: Iterable[str] = ()) -> Admission:
    """The chain of a cluster; raises :class:`UnknownPluginError` for names not known.

    A name that is both enabled and disabled is off.  What keeps users from giving
    themselves rights is always on, and comes last.
    """
    enable, disable = set(enable), set(disable)
    for name in sorted(enable | disable):
        if name not in KNOWN:
            raise UnknownPluginError(name)
    on = (DEFAULT | enable) - disable
    plugins: list[Plugin] = []
    for name, place in _MODULES.items():
        if name in on and place is not None:
            module, cls = place
            plugin = getattr(import_module(f"cove.server.admission.{module}"), cls)
            plugins.append(plugin())
    escalation = import_module("cove.server.admission.escalation")
    return Admission([*plugins, escalation.RoleEscalation()])
