"""TLS: a client that believes the cluster's authority and nobody else."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from edge import INGRESSES, SECRETS, Edge, path, rule

from cove.node.ingress.certificates import BrokenSecretError, Issuer, read_secret
from cove.pki import Pair
from cove.pki.authority import Authority

Doc = dict[str, Any]
Trusting = Callable[[bytes], ssl.SSLContext]


def secret(pair: Pair, name: str = "tls") -> Doc:
    """A TLS Secret."""
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {k: base64.b64encode(v).decode() for k, v in data.items()},
    }


@pytest.mark.requires("caddy")
async def test_hosts_have_certificates_of_the_cluster(edge: Edge, trusting: Trusting) -> None:
    """One for each development domain and a level below; its own for every other host."""
    await edge.backend("web")
    hosts = ["web.cove.localhost", "deep.web.cove.localhost", "shop.test", "www.example.com"]
    rules = [rule(h, path("/", "web")) for h in hosts]
    await edge.ingress("web", *rules, tls=[{"hosts": hosts}])
    tls = trusting(edge.api.authority.certificate)
    for host in hosts:
        reply = await edge.get(host, tls=tls)
        assert reply.backend == "web"
        assert '"X-Forwarded-Proto": "https"' in reply.text
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await edge.get("unknown.example.org", tls=tls)


@pytest.mark.requires("caddy")
async def test_a_wildcard_host_has_a_wildcard_certificate(edge: Edge, trusting: Trusting) -> None:
    """For one label, as the rule itself."""
    await edge.backend("web")
    await edge.ingress("web", rule("*.any.dev", path("/", "web")), tls=[{"hosts": ["*.any.dev"]}])
    tls = trusting(edge.api.authority.certificate)
    assert (await edge.get("a.any.dev", tls=tls)).backend == "web"


@pytest.mark.requires("caddy")
async def test_http_is_redirected_where_there_is_tls(edge: Edge, trusting: Trusting) -> None:
    """To the port that is really listened on; an annotation turns it off."""
    await edge.backend("web")
    rules = [rule("a.shop.test", path("/", "web")), rule("b.shop.test", path("/", "web"))]
    await edge.ingress("web", *rules, tls=[{"hosts": ["a.shop.test"]}])
    reply = await edge.get("a.shop.test", "/x?y=%20z")
    port = edge.proxy.https_port
    assert (reply.status, reply.headers["Location"]) == (
        308,
        f"https://a.shop.test:{port}/x?y=%20z",
    )
    assert (await edge.get("b.shop.test")).status == 200
    off = {"metadata": {"annotations": {"cove.dev/ssl-redirect": "false"}}}
    await edge.client.patch(INGRESSES, "web", off, "default")
    await edge.settled()
    assert (await edge.get("a.shop.test")).status == 200
    tls = trusting(edge.api.authority.certificate)
    assert (await edge.get("a.shop.test", tls=tls)).status == 200


@pytest.mark.requires("caddy")
async def test_a_secret_appears_changes_breaks_and_goes(edge: Edge, trusting: Trusting) -> None:
    """What is usable is shown; the cluster's own certificate is shown otherwise."""
    ours = edge.api.authority
    first, second = Authority.new("first"), Authority.new("second")
    await edge.backend("web")
    await edge.ingress(
        "web",
        rule("www.shop.test", path("/", "web")),
        tls=[{"hosts": ["www.shop.test"], "secretName": "tls"}],
    )

    async def shown(authority: Authority) -> bool:
        # TLS of its own, and so a connection of its own.
        tls = trusting(authority.certificate)
        await edge.settled()
        return (await edge.get("www.shop.test", tls=tls)).status == 200

    assert await shown(ours)
    await edge.client.create(SECRETS, secret(first.server(["www.shop.test"])), "default")
    assert await shown(first)
    await edge.client.update(SECRETS, secret(second.server(["*.shop.test"])), "default")
    assert await shown(second)
    broken = secret(Pair(first.server(["www.shop.test"]).certificate, b"no key"))
    await edge.client.update(SECRETS, broken, "default")
    assert await shown(ours)
    told = await edge.events("BadCertificate")
    assert len(told) == 1
    assert "tls.key" in told[0]
    await edge.client.delete(SECRETS, "tls", "default")
    assert await shown(ours)


GOOD = Authority.new().server(["a.test", "*.b.test"])
BROKEN = [
    ("no certificate", Pair(b"", GOOD.key), "a.test", "no certificate"),
    ("no key", Pair(GOOD.certificate, b""), "a.test", "no private key"),
    (
        "another key",
        Pair(GOOD.certificate, Authority.new().server(["a.test"]).key),
        "a.test",
        "not the key",
    ),
    ("another host", GOOD, "c.test", "is for a.test, *.b.test"),
    ("two labels", GOOD, "x.y.b.test", "is for"),
    ("no names", Authority.new().client("a.test"), "a.test", "names no hosts"),
]


@pytest.mark.parametrize(
    ("pair", "host", "says"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_a_broken_secret_says_what_is_wrong(pair: Pair, host: str, says: str) -> None:
    """Before Caddy is given it."""
    with pytest.raises(BrokenSecretError, match=says.replace("*", r"\*")):
        read_secret(secret(pair), host, datetime.now(UTC))


def test_a_secret_ends() -> None:
    """In a year it is of no use any more."""
    assert read_secret(secret(GOOD), "x.b.test", datetime.now(UTC)) == GOOD
    with pytest.raises(BrokenSecretError, match="ended"):
        read_secret(secret(GOOD), "a.test", datetime.now(UTC) + timedelta(days=400))


def test_certificates_are_for_serving_and_made_anew_before_they_end() -> None:
    """And the same until then."""
    now = datetime.now(UTC)
    authority = Authority.new()
    issuer = Issuer(lambda: authority, ["cove.localhost"], lambda: now)
    names = issuer.names("a.cove.localhost")
    assert names == issuer.names("cove.localhost") == ("cove.localhost", "*.cove.localhost")
    assert issuer.names("b.a.cove.localhost") == ("b.a.cove.localhost",)
    pair = issuer.pair(names)
    assert issuer.pair(names) is pair
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]
    now += timedelta(days=340)
    assert issuer.pair(names) is not pair
