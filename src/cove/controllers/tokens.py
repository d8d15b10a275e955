"""Tokens: Secrets that hold a service account's token, for those who cannot ask for one.

The token is asked of the TokenRequest API, bound to the Secret and good for as long as
that lets it be: it dies with the Secret, and the Secret with the account.  (Upstream signs
tokens of an older form here, without an end.)

Source: https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from cove.client.meta import key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._resources import SECRETS, SERVICE_ACCOUNTS
from cove.kube.status import StatusError

__all__ = ["TokensController"]

Doc = dict[str, Any]

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
# Seconds: the most that TokenRequest lets a token live.
LIFE = 2**32


def by_account(secret: Doc) -> tuple[str, ...]:
    """Index: the key of the account that a token Secret is for."""
    name = (secret["metadata"].get("annotations") or {}).get(NAME)
    if secret.get("type") != TYPE or not name:
        return ()
    return (f"{secret['metadata']['namespace']}/{name}",)


class TokensController(Controller):
    """Keys are Secrets."""

    name = "serviceaccount-token-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.informer(SECRETS)
        self.secrets.add_index("account", by_account)
        self.accounts = self.informer(SERVICE_ACCOUNTS)
        self.secrets.add_handler(self._secret_changed)
        self.accounts.add_handler(self._account_changed)

    def _secret_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None and by_account(new):
            self.queue.add(key_of(new))

    def _account_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        account = new or old
        assert account is not None
        if old is None or new is None or old["metadata"]["uid"] != new["metadata"]["uid"]:
            for secret in self.secrets.indexed("account", key_of(account)):
                self.queue.add(key_of(secret))

    async def sync(self, key: str) -> None:
        """One Secret."""
        secret = self.secrets.get_key(key)
        if secret is None or "deletionTimestamp" in secret["metadata"]:
            return
        keys = by_account(secret)
        if not keys:
            return
        account = await self._account(keys[0])
        wanted = secret["metadata"]["annotations"].get(UID)
        if account is None or (wanted and wanted != account["metadata"]["uid"]):
            await self._delete(secret)
            return
        await self._fill(secret, account)

    async def _account(self, key: str) -> Doc | None:
        """The account; what the cache does not know is asked for, a Secret is at stake."""
        found = self.accounts.get_key(key)
        if found is not None:
            return found
        namespace, _, name = key.partition("/")
        try:
            return await self.client.get(SERVICE_ACCOUNTS, name, namespace)
        except StatusError as e:
            if e.code != 404:
                raise
            return None

    async def _delete(self, secret: Doc) -> None:
        metadata = secret["metadata"]
        try:
            await self.client.delete(
                SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"]
            )
        except StatusError as e:
            if e.code not in (404, 409):
                raise

    async def _fill(self, secret: Doc, account: Doc) -> None:
        metadata = secret["metadata"]
        data = dict(secret.get("data") or {})
        ca = self.context.ca
        if ca and (not data.get("ca.crt") or b64decode(data["ca.crt"]) != ca.encode()):
            data["ca.crt"] = b64encode(ca.encode()).decode()
        if not data.get("namespace"):
            data["namespace"] = b64encode(metadata["namespace"].encode()).decode()
        if not data.get("token"):
            token = await self._token(secret, account)
            data["token"] = b64encode(token.encode()).decode()
        annotations = {
            **metadata["annotations"],
            NAME: account["metadata"]["name"],
            UID: account["metadata"]["uid"],
        }
        if data == secret.get("data") and annotations == metadata["annotations"]:
            return
        await self.client.update(
            SECRETS, {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}
        )

    async def _token(self, secret: Doc, account: Doc) -> str:
        metadata = secret["metadata"]
        answer = await self.client.create(
            SERVICE_ACCOUNTS,
            {
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "spec": {
                    "audiences": [],
                    "expirationSeconds": LIFE,
                    "boundObjectRef": {
                        "kind": "Secret",
                        "apiVersion": "v1",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                    },
                },
            },
            metadata["namespace"],
            name=account["metadata"]["name"],
            subresource="token",
        )
        return str(answer["status"]["token"])
