"""What a server starts TLS with, as plain PEM.

Who signs is :mod:`cove.pki.authority`, which needs a library of several megabytes:
the process that serves is handed the result instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

__all__ = [
    "Credentials",
    "FrontProxy",
    "Pair",
    "server_context",
    "serving_context",
    "use_pair",
]


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


class FrontProxy(NamedTuple):
    """What requests are handed on with to extension servers.

    An authority of its own: nobody else's certificate may say who asks.
    """

    authority: bytes
    client: Pair


class Credentials(NamedTuple):
    """The authority's certificate, the server's pair, the administrator's, the front proxy's."""

    authority: bytes
    server: Pair
    admin: Pair
    front_proxy: FrontProxy


def serving_context(pair: Pair) -> ssl.SSLContext:
    """TLS for a server that does not look at its clients' certificates."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The client's order, not OpenSSL's: Go's programs ask for AES-128 first, which costs less.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    use_pair(context, pair)
    context.set_alpn_protocols(["http/1.1"])
    return context


def server_context(authority: bytes, pair: Pair) -> ssl.SSLContext:
    """TLS for the server: asks for a client certificate, takes connections without one."""
    import ssl

    context = serving_context(pair)
    context.load_verify_locations(cadata=authority.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def use_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Show this certificate from now on, in a context that is in use, too."""
    import os
    import tempfile
    from pathlib import Path

    # The ssl module reads chains from files only; where there are some in memory, from one.
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("chain"), "wb") as file:
            file.write(pair.certificate + pair.key)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(chain)
