"""Service account tokens: signed here, checked here, published as JWKS.

JSON Web Tokens with RS256, bound to the service account and, if asked, to a Pod, Node or
Secret; a token dies with what it is bound to.  The key is made when it is first needed,
or loaded from the cluster's folder.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from cove.server.request import User
from cove.server.uids import new_uid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from cove.server.api import Api

__all__ = ["TokenKeys"]

PREFIX = "system:serviceaccount:"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class TokenKeys:
    """The signing key of a cluster.  ``path`` None keeps it in memory."""

    def __init__(self, path: Path | None = None, issuer: str = "") -> None:
        self._path = path
        self._key: RSAPrivateKey | None = None
        self._id = ""
        self.issuer = issuer or "https://kubernetes.default.svc"
        self._verified: dict[str, dict[str, Any]] = {}

    def _load(self) -> RSAPrivateKey:
        if self._key is not None:
            return self._key
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._path is not None and self._path.exists():
            key = serialization.load_pem_private_key(self._path.read_bytes(), None)
            if not isinstance(key, rsa.RSAPrivateKey):
                raise TypeError(f"{self._path} is not an RSA key")
        else:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if self._path is not None:
                self._path.touch(mode=0o600)
                self._path.write_bytes(
                    key.private_bytes(
                        serialization.Encoding.PEM,
                        serialization.PrivateFormat.PKCS8,
                        serialization.NoEncryption(),
                    )
                )
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._id = _encode(hashlib.sha256(der).digest())
        self._key = key
        return key

    def jwks(self) -> dict[str, Any]:
        """The public keys, as ``/openid/v1/jwks`` gives them."""
        key = self._load()
        numbers = key.public_key().public_numbers()

        def number(value: int) -> str:
            return _encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))

        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "RSA",
                    "kid": self._id,
                    "alg": "RS256",
                    "n": number(numbers.n),
                    "e": number(numbers.e),
                }
            ]
        }

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with these claims."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        key = self._load()
        head = _encode(orjson.dumps({"alg": "RS256", "kid": self._id}))
        text = f"{head}.{_encode(orjson.dumps(claims))}"
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_encode(signature)}"

    def issue(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        audiences: Sequence[str],
        now: int,
        seconds: int,
        bound: dict[str, dict[str, str]] | None = None,
    ) -> str:
        """A service account's token; ``bound`` is e.g. {"pod": {"name", "uid"}}."""
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": uid},
        }
        private.update(bound or {})
        return self.sign(
            {
                "aud": list(audiences),
                "exp": now + seconds,
                "iat": now,
                "iss": self.issuer,
                "jti": new_uid(),
                "kubernetes.io": private,
                "nbf": now,
                "sub": f"{PREFIX}{namespace}:{name}",
            }
        )

    def verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a token we signed, whatever their times say; None for any other."""
        known = self._verified.get(token)
        if known is not None:
            return known
        parts = token.split(".")
        if len(parts) != 3:
            return None
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            head = orjson.loads(_decode(parts[0]))
            claims = orjson.loads(_decode(parts[1]))
            signature = _decode(parts[2])
            if not isinstance(head, dict) or head.get("alg") != "RS256":
                return None
            if not isinstance(claims, dict):
                return None
            self._load().public_key().verify(
                signature, f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (ValueError, binascii.Error, InvalidSignature):
            return None
        if len(self._verified) > 1024:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def authenticate(
        self, api: Api, token: str, audiences: Sequence[str] | None = None
    ) -> User | None:
        """The user of a token that is ours, in date, for us, and bound to what still exists."""
        claims = self.verify(token)
        if claims is None or claims.get("iss") != self.issuer:
            return None
        now = api.now().timestamp()
        if not claims.get("nbf", 0) - 60 <= now < claims.get("exp", 0):
            return None
        wanted = set(audiences) if audiences else {self.issuer}
        if not wanted.intersection(claims.get("aud", ())):
            return None
        private = claims.get("kubernetes.io") or {}
        return _bound_user(api, claims, private)


_BOUND = {"pod": "pods", "secret": "secrets", "node": "nodes"}


def _bound_user(api: Api, claims: dict[str, Any], private: dict[str, Any]) -> User | None:
    namespace = private.get("namespace", "")
    account = private.get("serviceaccount") or {}
    state = api.store.state
    stored = state.get("serviceaccounts", namespace, account.get("name", ""))
    if stored is None or stored.uid != account.get("uid"):
        return None
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims['jti']}",)
    for kind, resource in _BOUND.items():
        bound = private.get(kind)
        if not bound:
            continue
        where = "" if kind == "node" else namespace
        target = state.get(resource, where, bound.get("name", ""))
        if kind != "node" or "pod" not in private:
            if target is None or target.uid != bound.get("uid"):
                return None
        if kind in ("pod", "node"):
            extra[f"authentication.kubernetes.io/{kind}-name"] = (bound.get("name", ""),)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (bound.get("uid", ""),)
    return User(
        f"{PREFIX}{namespace}:{account['name']}",
        (
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        ),
        account["uid"],
        extra,
    )
