"""What TLS settles with different clients."""

from __future__ import annotations

import ssl

import pytest

from cove.pki import serving_context
from cove.pki.authority import Authority

AES_128, AES_256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"


def settled(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """The cipher of a handshake in memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname="127.0.0.1")
    serving = server.wrap_bio(there, back, server_side=True)
    for side in (asking, serving, asking, serving):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    cipher = asking.cipher()
    assert cipher is not None
    return cipher[0]


@pytest.mark.parametrize("order", [(AES_128, AES_256), (AES_256, AES_128)])
def test_the_client_says_which_cipher_it_likes(order: tuple[str, str]) -> None:
    """As with an API server; TLS 1.2 here, since Python cannot order the ciphers of 1.3."""
    authority = Authority.new()
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(":".join(order))

    assert settled(client, serving_context(authority.server(["127.0.0.1"]))) == order[0]
