"""TLS towards webhooks and extension servers: whom to trust, and as whom to appear."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cove.pki import Pair

if TYPE_CHECKING:
    import ssl

__all__ = ["Trust", "context_for"]


class Trust(NamedTuple):
    """What a connection is verified by.

    ``authority`` is PEM; b"" means the system's.  ``server_name`` "" means the URL's host.
    ``client`` is the certificate to appear with.
    """

    authority: bytes = b""
    server_name: str = ""
    insecure: bool = False
    client: Pair | None = None


def context_for(trust: Trust) -> ssl.SSLContext:
    """A context; raises ValueError, saying what is wrong, for an authority that is none."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.authority:
        try:
            context.load_verify_locations(cadata=trust.authority.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as e:
            raise ValueError(
                "unable to load root certificates: unable to parse bytes as PEM block"
            ) from e
    else:
        context.load_default_certs()
    if trust.client is not None:
        _appear_as(context, trust.client)
    return context


def _appear_as(context: ssl.SSLContext, pair: Pair) -> None:
    import tempfile
    from pathlib import Path

    # The ssl module reads chains from files only.
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(chain)
