"""The cluster's certificate authority and the certificates it signs.

ECDSA P-256 throughout: made in milliseconds, understood by every client.  All functions
give PEM; nothing is written here.  Only who signs imports this module: a server that is
given its credentials does without it (see :mod:`cove.pki`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cove.pki import Credentials, FrontProxy, Pair
from cove.pki.requests import parsed

__all__ = ["Authority", "UsageError"]

# Whom extension servers believe, as kubeadm names it.
FRONT_PROXY = "front-proxy-client"
CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)
# Clocks of containers and virtual machines lag a little.
SKEW = timedelta(minutes=5)


# What Kubernetes calls the usages of a key, and what X.509 does.
_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_EXTENDED_USAGES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}


class UsageError(ValueError):
    """A certificate was asked for uses that there are not."""


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Authority:
    """A certificate authority; make one with :meth:`new`, read one with :meth:`load`."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def new(
        cls, name: str = "cove", *, life: timedelta = CA_LIFE, now: datetime | None = None
    ) -> Authority:
        """A fresh authority, valid for ten years unless told; ``now`` None is the machine's."""
        key = _new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = now or datetime.now(UTC)
        public = key.public_key()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_beginning(now))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, pair: Pair) -> Authority:
        """The authority of a stored pair; raises ValueError for what is not one."""
        key = serialization.load_pem_private_key(pair.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic-curve key")
        return cls(x509.load_pem_x509_certificate(pair.certificate), key)

    @property
    def pair(self) -> Pair:
        """What :meth:`load` takes."""
        return Pair(self.certificate, _key_pem(self._key))

    @property
    def certificate(self) -> bytes:
        """The authority's certificate, PEM: what clients trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def expiry(self) -> datetime:
        """When the authority ends."""
        return self._certificate.not_valid_after_utc

    def signed(self, certificate: bytes) -> bool:
        """Whether a certificate in PEM is one of this authority's."""
        try:
            x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def server(
        self,
        names: Iterable[str],
        *,
        life: timedelta = LEAF_LIFE,
        now: datetime | None = None,
        common_name: str = "kube-apiserver",
    ) -> Pair:
        """A serving certificate for DNS names and IP addresses.

        Valid for ``life`` from ``now`` on (None: the machine's), but no longer than the
        authority.
        """
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        return self._leaf(
            [x509.NameAttribute(NameOID.COMMON_NAME, common_name)],
            ExtendedKeyUsageOID.SERVER_AUTH,
            alternatives,
            life,
            now,
        )

    def credentials(self, names: Iterable[str], admin: str, groups: Iterable[str]) -> Credentials:
        """What a server reached by ``names`` and its administrator start with."""
        proxies = Authority.new("front-proxy-ca")
        return Credentials(
            self.certificate,
            self.server(names),
            self.client(admin, groups),
            FrontProxy(proxies.certificate, proxies.client(FRONT_PROXY)),
        )

    def client(self, name: str, groups: Iterable[str] = ()) -> Pair:
        """A client certificate: the user's name and groups."""
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        return self._leaf(subject, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def sign(self, request: bytes, usages: Iterable[str], life: timedelta) -> bytes:
        """The certificate that a request in PEM asks for, for Kubernetes' names of usages.

        It never outlives the authority.  Raises ValueError; UsageError for unknown usages.
        """
        asked = parsed(request)
        flags, extended = set(), []
        unknown = []
        for usage in usages:
            if usage in _KEY_USAGES:
                flags.add(_KEY_USAGES[usage])
            elif usage in _EXTENDED_USAGES:
                extended.append(_EXTENDED_USAGES[usage])
            else:
                unknown.append(usage)
        if unknown:
            raise UsageError(f"unrecognized usage values: {' '.join(unknown)}")
        if "key_agreement" not in flags:
            # X.509 knows these two only of keys that agree on others.
            flags -= {"encipher_only", "decipher_only"}
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.subject)
            .issuer_name(self._certificate.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(min(now + life, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._certificate.public_key()  # type: ignore[arg-type]  # ours is EC
                ),
                critical=False,
            )
        )
        if flags:
            builder = builder.add_extension(
                x509.KeyUsage(**{f: f in flags for f in set(_KEY_USAGES.values())}), critical=True
            )
        if extended:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage(list(dict.fromkeys(extended))), critical=False
            )
        try:
            names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            pass
        else:
            builder = builder.add_extension(names.value, critical=names.critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _leaf(
        self,
        subject: list[x509.NameAttribute[str]],
        usage: x509.ObjectIdentifier,
        alternatives: list[x509.GeneralName],
        life: timedelta = LEAF_LIFE,
        now: datetime | None = None,
    ) -> Pair:
        key = _new_key()
        now = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_beginning(now))
            .not_valid_after(min(now + life, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._certificate.public_key()  # type: ignore[arg-type]  # ours is EC
                ),
                critical=False,
            )
        )
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def _beginning(now: datetime) -> datetime:
    """From when on a certificate is valid.

    A clock may have been put forward; whoever verifies looks at the machine's.
    """
    return min(now, datetime.now(UTC)) - SKEW


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
