"""Bootstrap signer: who joins the cluster can tell its kubeconfig from a forged one.

The kubeconfig in the ConfigMap ``cluster-info`` is signed with every bootstrap token that
is meant for it.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, urlsafe_b64encode
from typing import Any

from cove.controllers._controller import Context, Controller
from cove.controllers._resources import CONFIG_MAPS, SECRETS

__all__ = ["BootstrapSigner", "sign"]

Doc = dict[str, Any]

NAMESPACE, NAME = "kube-public", "cluster-info"
KUBECONFIG, PREFIX = "kubeconfig", "jws-kubeconfig-"
TYPE = "bootstrap.kubernetes.io/token"
KEY = f"{NAMESPACE}/{NAME}"


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def sign(text: str, identifier: str, secret: str) -> str:
    """A JSON Web Signature whose payload is left out."""
    head = _encode(f'{{"alg":"HS256","kid":"{identifier}"}}'.encode())
    body = head + b"." + _encode(text.encode())
    mac = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return f"{head.decode()}..{_encode(mac).decode()}"


class BootstrapSigner(Controller):
    """One key: the ConfigMap."""

    name = "bootstrap-signer"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.maps = self.informer(CONFIG_MAPS)
        self.secrets = self.informer(SECRETS)
        self.maps.add_handler(self._map_changed)
        self.secrets.add_handler(self._secret_changed)

    def _map_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        metadata = (new or old or {})["metadata"]
        if metadata["name"] == NAME and metadata["namespace"] == NAMESPACE:
            self.queue.add(KEY)

    def _secret_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if (new or old or {}).get("type") == TYPE:
            self.queue.add(KEY)

    async def sync(self, key: str) -> None:
        """Sign with every token, and drop the signatures of those that are gone."""
        found = self.maps.get(NAMESPACE, NAME)
        text = (found or {}).get("data", {}).get(KUBECONFIG)
        if found is None or not text:
            return
        wanted = {
            PREFIX + identifier: sign(text, identifier, secret)
            for identifier, secret in self._tokens()
        }
        data = {k: v for k, v in found["data"].items() if not k.startswith(PREFIX)} | wanted
        if data != found["data"]:
            await self.client.update(CONFIG_MAPS, {**found, "data": data})

    def _tokens(self) -> list[tuple[str, str]]:
        tokens = []
        for secret in self.secrets.list("kube-system"):
            if secret.get("type") != TYPE or "deletionTimestamp" in secret["metadata"]:
                continue
            data = {
                k: b64decode(v).decode(errors="replace")
                for k, v in (secret.get("data") or {}).items()
            }
            identifier, value = data.get("token-id"), data.get("token-secret")
            if data.get("usage-bootstrap-signing") == "true" and identifier and value:
                if secret["metadata"]["name"] == f"bootstrap-token-{identifier}":
                    tokens.append((identifier, value))
        return tokens
