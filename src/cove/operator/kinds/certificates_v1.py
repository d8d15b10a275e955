"""The types of certificates/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.markers import Int32, ListMap

__all__ = [
    "CertificateSigningRequest",
    "CertificateSigningRequestCondition",
    "CertificateSigningRequestSpec",
    "CertificateSigningRequestStatus",
]


class CertificateSigningRequestSpec(Part):
    request: bytes
    signer_name: str
    expiration_seconds: Int32 | None = None
    usages: list[str] = []
    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class CertificateSigningRequestCondition(Part):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None
    last_transition_time: datetime | None = None


class CertificateSigningRequestStatus(Part):
    conditions: Annotated[list[CertificateSigningRequestCondition], ListMap("type")] = []
    certificate: bytes = b""


@builtin(
    "certificates.k8s.io/v1", "certificatesigningrequests", short_names=("csr",), scope="Cluster"
)
class CertificateSigningRequest(Kind):
    spec: CertificateSigningRequestSpec
    status: CertificateSigningRequestStatus = field(default_factory=CertificateSigningRequestStatus)
