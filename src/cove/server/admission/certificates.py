"""Certificate signing requests: who may approve, who may sign, which subjects may be asked for.

Approving and signing need, beside the right to the subresource, the verbs ``approve``
and ``sign`` on the virtual resource ``signers``, for the signer's name or for all of its
domain (``example.com/*``).

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

from base64 import b64decode

from cove.server.admission._chain import Attributes, Plugin
from cove.server.identity import Review

__all__ = ["CertificateApproval", "CertificateSigning", "CertificateSubjectRestriction"]

GROUP = "certificates.k8s.io"
REQUESTS = frozenset((f"certificatesigningrequests.{GROUP}",))
API_SERVER_CLIENT = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"


def _permitted(a: Attributes, verb: str, signer: str) -> bool:
    api, user = a.api, a.request.user
    domain = signer.partition("/")[0]
    return any(
        api.identity.allowed(api, user, Review(verb=verb, group=GROUP, resource="signers", name=n))[
            0
        ]
        for n in (signer, f"{domain}/*")
    )


class CertificateApproval(Plugin):
    """Approving (or denying) takes the verb approve."""

    name = "CertificateApproval"
    operations = frozenset(("UPDATE",))
    storages = REQUESTS
    subresources = frozenset(("approval",))

    def validate(self, a: Attributes) -> None:
        """Judge by the signer that the request had before."""
        signer = (a.old or {}).get("spec", {}).get("signerName", "")
        if not _permitted(a, "approve", signer):
            raise a.forbidden(f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Plugin):
    """Writing a certificate, or that signing failed, takes the verb sign."""

    name = "CertificateSigning"
    operations = frozenset(("UPDATE",))
    storages = REQUESTS
    subresources = frozenset(("status",))

    def validate(self, a: Attributes) -> None:
        """Nothing is asked where certificate and conditions stay."""
        new, old = (a.obj or {}).get("status") or {}, (a.old or {}).get("status") or {}
        if all(new.get(key) == old.get(key) for key in ("certificate", "conditions")):
            return
        signer = (a.old or {}).get("spec", {}).get("signerName", "")
        if not _permitted(a, "sign", signer):
            raise a.forbidden(f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction(Plugin):
    """Nobody becomes an administrator by a certificate of the API server's client signer."""

    name = "CertificateSubjectRestriction"
    operations = frozenset(("CREATE",))
    storages = REQUESTS

    def validate(self, a: Attributes) -> None:
        """Refuse the group system:masters."""
        spec = (a.obj or {}).get("spec", {})
        if spec.get("signerName") != API_SERVER_CLIENT:
            return
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        try:
            csr = x509.load_pem_x509_csr(b64decode(spec.get("request") or ""))
        except ValueError as e:
            raise a.forbidden(f"failed to parse CSR: {e}") from e
        for attribute in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
            if attribute.value == MASTERS:
                raise a.forbidden(
                    f"use of {API_SERVER_CLIENT} signer with {MASTERS} group is not allowed"
                )
