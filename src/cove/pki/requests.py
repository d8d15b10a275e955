"""Certificate requests: who asks, and for what; and certificates: until when they hold.

Imports the library for certificates: only who signs or judges requests loads this.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

__all__ = ["CertificateRequest", "certificate_names", "expiry", "read_request"]

_BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE REQUEST-----.*?-----END CERTIFICATE REQUEST-----", re.DOTALL
)


class CertificateRequest(NamedTuple):
    """What a request asks for."""

    name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]


def parsed(pem: bytes) -> x509.CertificateSigningRequest:
    """The request in PEM; raises ValueError for what is none, or not signed by its own key."""
    match = _BLOCK.search(pem)
    if match is None:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    request = x509.load_pem_x509_csr(match[0] + b"\n")
    if not request.is_signature_valid:
        raise ValueError("x509: invalid signature")
    return request


def read_request(pem: bytes) -> CertificateRequest:
    """What is in a request; raises ValueError."""
    request = parsed(pem)

    def texts(oid: x509.ObjectIdentifier) -> tuple[str, ...]:
        return tuple(str(a.value) for a in request.subject.get_attributes_for_oid(oid))

    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return CertificateRequest(
        next(iter(texts(NameOID.COMMON_NAME)), ""),
        texts(NameOID.ORGANIZATION_NAME),
        tuple(names.get_values_for_type(x509.DNSName)),
        tuple(str(a) for a in names.get_values_for_type(x509.IPAddress)),
        tuple(names.get_values_for_type(x509.RFC822Name)),
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
    )


def expiry(pem: bytes) -> datetime:
    """When the first certificate of a chain ends; raises ValueError."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def certificate_names(pem: bytes) -> tuple[str, ...]:
    """The DNS names and IP addresses that a certificate is for; raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    )
