"""The authority of a conversion webhook: certificates, PEM, in base64.

Source: ``ValidateCABundle`` of apiserver's ``pkg/util/webhook/validation.go``.
"""

from __future__ import annotations

import base64
import binascii
import re

__all__ = ["bundle_fault"]

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)


def bundle_fault(value: str | None) -> str:
    """What is wrong with a ``caBundle``, as errors tell it with the value; "" if nothing."""
    try:
        data = base64.b64decode(value or "")
    except (binascii.Error, ValueError):
        return ""  # no base64: the decoder has refused it
    if not data or _certificates(data):
        return ""
    shown = ", ".join(f"{byte:#x}" for byte in data)
    return (
        f"Invalid value: []byte{{{shown}}}: unable to load root certificates: unable to parse "
        "bytes as PEM block"
    )


def _certificates(data: bytes) -> bool:
    """Whether there is a certificate, and none that cannot be read."""
    import ssl

    blocks = _BLOCK.findall(data)
    try:
        for block in blocks:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.decode())
    except (ssl.SSLError, ValueError):
        return False
    return bool(blocks)
