"""What a server starts TLS with, as plain PEM.

Who signs is :mod:`cove.pki.authority`, which needs a library of several megabytes:
the process that serves is handed the result instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

__all__ = ["Credentials", "Pair", "server_context"]


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


class Credentials(NamedTuple):
    """The authority's certificate, the server's pair and the administrator's pair."""

    authority: bytes
    server: Pair
    admin: Pair


def server_context(authority: bytes, pair: Pair) -> ssl.SSLContext:
    """TLS for the server: asks for a client certificate, takes connections without one."""
    import ssl
    import tempfile
    from pathlib import Path

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads chains from files only.
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(chain)
    context.load_verify_locations(cadata=authority.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context
