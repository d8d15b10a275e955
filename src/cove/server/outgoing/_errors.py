"""What went wrong with a call, in the words that Go's client has for it.

Tools and people look for these words: ``connection refused``, ``context deadline
exceeded``, ``certificate signed by unknown authority``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl

from cove.kube.status import CoveError

__all__ = ["CallError", "SimulatedError", "reason"]

_UNTRUSTED = frozenset((18, 19, 20, 21))  # X509_V_ERR_*: self signed, no issuer found
_EXPIRED = frozenset((9, 10))
_OTHER_NAME = frozenset((62, 64))


class CallError(CoveError):
    """Nothing usable was answered; the text is what callers quote."""


class SimulatedError(OSError):
    """An address that only seems to be there was to be connected to."""

    def __init__(self) -> None:
        super().__init__(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))


def reason(error: BaseException, host: str, name: str) -> str:
    """What Go says of a failure to reach ``host`` (with its port) as ``name``."""
    import aiohttp

    if isinstance(error, asyncio.TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {host.rpartition(':')[0]}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate(error.certificate_error, name)
    if isinstance(error, aiohttp.ClientSSLError):
        text = str(getattr(error.os_error, "reason", "") or error.os_error)
        return f"remote error: tls: {text.lower().replace('_', ' ')}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        text = os.strerror(number).lower() if number else str(error.os_error)
        if isinstance(error.os_error, SimulatedError):
            text += " (the pods of this cluster are simulated)"
        return f"dial tcp {host}: connect: {text}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientOSError) and error.errno:
        return f"read tcp {host}: {os.strerror(error.errno).lower()}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF"
    if isinstance(error, aiohttp.ClientResponseError):
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response"
    return str(error) or type(error).__name__


def _certificate(error: Exception, name: str) -> str:
    told = "tls: failed to verify certificate: x509: "
    code = getattr(error, "verify_code", 0)
    if code in _UNTRUSTED:
        return told + "certificate signed by unknown authority"
    if code in _EXPIRED:
        return told + "certificate has expired or is not yet valid"
    if code in _OTHER_NAME or not isinstance(error, ssl.SSLCertVerificationError):
        return told + f"certificate is not valid for {name}"
    return told + error.verify_message
