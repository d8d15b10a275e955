"""Certificate signing requests: their signers, and what each signer asks of a request.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cove.controllers._conditions import find

if TYPE_CHECKING:
    from cove.pki.requests import CertificateRequest

__all__ = ["CLIENT", "KUBELET_CLIENT", "KUBELET_SERVING", "LEGACY", "SIGNERS", "decided", "problem"]

Doc = dict[str, Any]

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)

_COMMON = frozenset(("digital signature", "key encipherment"))


def decided(request: Doc) -> str:
    """Approved, Denied or "" for a request that nobody has judged."""
    conditions = request.get("status", {}).get("conditions")
    for type_ in ("Denied", "Approved"):
        if find(conditions, type_) is not None:
            return type_
    return ""


def _usages(found: Iterable[str], needed: str, wanted: frozenset[str]) -> bool:
    usages = frozenset(found)
    return needed in usages and wanted <= usages and usages <= _COMMON | {needed}


def _node(asked: CertificateRequest) -> str:
    if asked.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    return ""


def problem(signer: str, asked: CertificateRequest, usages: Iterable[str]) -> str:
    """Why a signer does not sign, "" if it does."""
    if signer == LEGACY:
        return ""
    if signer == CLIENT:
        return (
            ""
            if _usages(usages, "client auth", frozenset())
            else "usages did not match [client auth digital signature key encipherment]"
        )
    text = _node(asked)
    if text:
        return text
    if signer == KUBELET_CLIENT:
        for found, name in (
            (asked.dns, "DNS"),
            (asked.emails, "email"),
            (asked.addresses, "IP"),
            (asked.uris, "URI"),
        ):
            if found:
                return f"{name} subjectAltNames are not allowed"
        text = "subject common name does not begin with system:node: "
        if not asked.name.startswith("system:node:"):
            return text
        if not _usages(usages, "client auth", frozenset(("digital signature",))):
            return "usages did not match [key encipherment digital signature client auth]"
        return ""
    if not asked.dns and not asked.addresses:
        return "DNS or IP subjectAltName is required"
    if asked.emails:
        return "email subjectAltNames are not allowed"
    if asked.uris:
        return "URI subjectAltNames are not allowed"
    if not asked.name.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    if not _usages(usages, "server auth", frozenset(("digital signature",))):
        return "usages did not match [key encipherment digital signature server auth]"
    return ""
