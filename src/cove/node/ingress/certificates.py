"""Certificates: which one each TLS host shows, the user's own or one of the cluster's authority.

Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#tls
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cove.client.meta import key_of
from cove.node.ingress.configuration import Certificates
from cove.node.ingress.routes import oldest, tls_hosts
from cove.pki import Pair
from cove.pki.authority import Authority

__all__ = ["BrokenSecretError", "Issuer", "assign", "read_secret", "wildcard_matches"]

Doc = dict[str, Any]

LIFE = timedelta(days=365)
# Ours are made anew this long before they end.
RENEWED = timedelta(days=30)


class BrokenSecretError(ValueError):
    """A TLS Secret that no server could use."""


def wildcard_matches(pattern: str, host: str) -> bool:
    """Whether ``*.x`` (one label for the star) or ``x`` itself names ``host``."""
    if pattern == host:
        return True
    return pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]


def read_secret(secret: Doc, host: str, now: datetime) -> Pair:
    """The pair in a Secret, if a client that asks for ``host`` could believe it.

    Raises BrokenSecretError, which says what is wrong.
    """
    data = secret.get("data") or {}
    try:
        chain, key = (base64.b64decode(data.get(k) or "") for k in ("tls.crt", "tls.key"))
    except binascii.Error as e:
        raise BrokenSecretError(f"its data is not base64: {e}") from e
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as e:
        raise BrokenSecretError("tls.crt holds no certificate in PEM") from e
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise BrokenSecretError("tls.key holds no private key in PEM without a password") from e
    if not isinstance(
        private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    ):
        raise BrokenSecretError("tls.key is neither RSA, ECDSA nor Ed25519")
    if private.public_key() != leaf.public_key():
        raise BrokenSecretError("tls.key is not the key of tls.crt")
    if leaf.not_valid_after_utc <= now:
        raise BrokenSecretError(f"its certificate ended {leaf.not_valid_after_utc:%Y-%m-%d}")
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as e:
        raise BrokenSecretError("its certificate names no hosts") from e
    named = [n.lower() for n in names.get_values_for_type(x509.DNSName)]
    if not any(wildcard_matches(n, host) for n in named):
        raise BrokenSecretError(f"its certificate is for {', '.join(named) or 'no host'}")
    return Pair(chain, key)


class Issuer:
    """Certificates of the cluster's authority, made once and kept until they near their end.

    ``domains`` are development domains, each with one certificate for itself and every name
    a label below; all other names get one each.
    """

    def __init__(
        self,
        authority: Callable[[], Authority],
        domains: Sequence[str],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._authority = authority
        self._domains = tuple(domains)
        self._now = now or (lambda: datetime.now(UTC))
        self._made: dict[tuple[str, ...], tuple[Pair, datetime]] = {}

    def names(self, host: str) -> tuple[str, ...]:
        """The names on the certificate that ``host`` shows."""
        for domain in self._domains:
            if wildcard_matches(f"*.{domain}", host) or host == domain:
                return (domain, f"*.{domain}")
        return (host,)

    def pair(self, names: tuple[str, ...]) -> Pair:
        """A pair for ``names``."""
        known = self._made.get(names)
        now = self._now()
        if known is not None and now < known[1]:
            return known[0]
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=True
            )
            .sign(key, hashes.SHA256())
        )
        certificate = self._authority().sign(
            request.public_bytes(serialization.Encoding.PEM),
            ("server auth", "digital signature"),
            LIFE,
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        pair = Pair(certificate, private)
        ends = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
        self._made[names] = (pair, ends - RENEWED)
        return pair


def assign(
    ingresses: Iterable[Doc],
    secrets: Callable[[str], Doc | None],
    issuer: Issuer,
    domains: Sequence[str],
    now: datetime,
) -> tuple[Certificates, list[tuple[str, str]]]:
    """A certificate for every TLS host, and what is wrong: pairs of an Ingress' key and a text.

    The oldest Ingress that names a usable Secret for a host decides.
    """
    pairs: dict[str, Pair] = {}
    hosts: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    wanted: dict[str, None] = dict.fromkeys(n for d in domains for n in (d, f"*.{d}"))
    for ingress in oldest(ingresses):
        for host, name in tls_hosts(ingress).items():
            wanted[host] = None
            secret = secrets(f"{ingress['metadata']['namespace']}/{name}") if name else None
            if secret is None or host in hosts:
                continue
            try:
                pair = read_secret(secret, host, now)
            except BrokenSecretError as e:
                faults.append(
                    (
                        key_of(ingress),
                        f"Secret {name} is not used for {host}, the cluster's own "
                        f"certificate is: {e}",
                    )
                )
                continue
            tag = f"secret {key_of(secret)} {_digest(pair)}"
            pairs[tag] = pair
            hosts[host] = tag
    for host in wanted:
        if host not in hosts:
            names = issuer.names(host)
            tag = f"cove {names[0]}"
            pairs[tag] = issuer.pair(names)
            hosts[host] = tag
    fallback = domains[0] if domains else next(iter(hosts), "")
    return Certificates(pairs, hosts, fallback), faults


def _digest(pair: Pair) -> str:
    return hashlib.sha256(pair.certificate).hexdigest()[:12]
