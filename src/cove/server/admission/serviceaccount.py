"""ServiceAccount: every pod runs as one and gets its token mounted.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any

import orjson

from cove.kube.kinds._podspec.token import TOKEN_SOURCE
from cove.kube.names import generate_name
from cove.server.admission._chain import Attributes, Plugin
from cove.server.store import Stored

__all__ = ["ServiceAccount"]

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
MIRROR = "kubernetes.io/config.mirror"


class ServiceAccount(Plugin):
    """Sets the account, copies its pull secrets, mounts a token of it."""

    name = "ServiceAccount"
    operations = frozenset(("CREATE",))
    storages = frozenset(("pods",))

    def admit(self, a: Attributes) -> None:
        """Fill the pod in; refuses accounts that do not exist."""
        if a.obj is None or MIRROR in a.obj["metadata"].get("annotations", {}):
            return
        spec = a.obj["spec"]
        name = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = name
        account = self._account(a, name)
        mount = spec.get("automountServiceAccountToken")
        if mount is None:
            mount = account.get("automountServiceAccountToken")
        if mount is None or mount:
            _mount_token(a, spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(s) for s in account["imagePullSecrets"]]

    def _account(self, a: Attributes, name: str) -> dict[str, Any]:
        stored = a.api.store.state.get("serviceaccounts", a.namespace, name)
        if stored is None:
            raise a.forbidden(
                f"error looking up service account {a.namespace}/{name}: "
                f'serviceaccount "{name}" not found'
            )
        return _decoded(stored)

    def validate(self, a: Attributes) -> None:
        """Mirror pods may not use an account; others must."""
        if a.obj is None:
            return
        spec = a.obj["spec"]
        if MIRROR in a.obj["metadata"].get("annotations", {}):
            if spec.get("serviceAccountName"):
                raise a.forbidden("a mirror pod may not reference service accounts")
            return
        if not spec.get("serviceAccountName"):
            raise a.forbidden(f"no service account specified for pod {a.namespace}/{a.name}")


@lru_cache(maxsize=64)
def _decoded(account: Stored) -> dict[str, Any]:
    """What one account says; a change of it is another ``Stored``."""
    doc: dict[str, Any] = orjson.loads(account.data)
    return doc


def _mount_token(a: Attributes, spec: dict[str, Any]) -> None:
    volumes = spec.get("volumes") or []
    name = next(
        (v["name"] for v in volumes if v.get("name", "").startswith("kube-api-access-")), ""
    )
    added = not name
    if added:
        name = generate_name("kube-api-access-", a.api.config.rng)
    needed = False
    for container in chain(spec.get("initContainers") or (), spec.get("containers") or ()):
        mounts = container.get("volumeMounts", [])
        if any(m.get("mountPath") == MOUNT for m in mounts):
            continue
        needed = True
        container["volumeMounts"] = [
            *mounts,
            {"name": name, "readOnly": True, "mountPath": MOUNT},
        ]
    if added and needed:
        spec["volumes"] = [*volumes, {"name": name, "projected": TOKEN_SOURCE}]
