"""The volume that gives a container its service account's token.

Nearly every pod has one, and it is always the same: admission shares it between the
pods it fills in, validation and warnings know it at a glance.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

from typing import Any

__all__ = ["TOKEN_SOURCE"]

# An hour, and seven seconds that tell such tokens from others in logs.
_EXPIRATION = 3607

# What is ``projected`` there; never changed.
TOKEN_SOURCE: dict[str, Any] = {
    "sources": [
        {"serviceAccountToken": {"expirationSeconds": _EXPIRATION, "path": "token"}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
    ],
    "defaultMode": 0o644,
}
