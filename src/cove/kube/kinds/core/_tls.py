"""Whether a certificate and a private key are a pair, in the words of Go's crypto/tls."""

from __future__ import annotations

import re

__all__ = ["key_pair_problem"]

_BLOCK = re.compile(rb"-----BEGIN ([^-\n]+)-----\r?\n.*?-----END \1-----", re.DOTALL)


def key_pair_problem(certificate: bytes, key: bytes) -> str:
    """What ``tls.X509KeyPair`` would say; "" if it is content."""
    blocks = {m[1].decode(): m[0] for m in reversed(list(_BLOCK.finditer(certificate)))}
    if not blocks:
        return "tls: failed to find any PEM data in certificate input"
    if "CERTIFICATE" not in blocks:
        return (
            'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM '
            f"blocks of the following types: [{' '.join(blocks)}]"
        )
    keys = [(m[1].decode(), m[0]) for m in _BLOCK.finditer(key)]
    if not keys:
        return "tls: failed to find any PEM data in key input"
    private = next((b for t, b in keys if t == "PRIVATE KEY" or t.endswith(" PRIVATE KEY")), None)
    if private is None:
        return (
            'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after '
            f"skipping PEM blocks of the following types: [{' '.join(t for t, _ in keys)}]"
        )
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        public = x509.load_pem_x509_certificate(blocks["CERTIFICATE"]).public_key()
    except ValueError:
        return "x509: malformed certificate"
    try:
        own = load_pem_private_key(private, None).public_key()
    except (ValueError, TypeError):
        return "tls: failed to parse private key"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if type(own) is not type(public):
        return "tls: private key type does not match public key type"
    if own.public_bytes(*form) != public.public_bytes(*form):
        return "tls: private key does not match public key"
    return ""
