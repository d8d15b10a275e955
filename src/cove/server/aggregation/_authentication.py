"""The ConfigMap by which extension servers know whom to believe.

Source: ``pkg/controlplane/controller/clusterauthenticationtrust`` of kube-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.server.bootstrap import seed

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["ALLOWED", "publish"]

NAME = "extension-apiserver-authentication"
NAMESPACE = "kube-system"
# The name in the certificate that requests are handed on with.
ALLOWED = "front-proxy-client"


def publish(api: Api, authority: bytes, front_proxy: bytes) -> None:
    """Write it, or write it anew with what changed; both are certificates, PEM.

    Anything else in it stays.
    """
    data = {
        "client-ca-file": authority.decode(),
        "requestheader-allowed-names": f'["{ALLOWED}"]',
        "requestheader-client-ca-file": front_proxy.decode(),
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-username-headers": '["X-Remote-User"]',
    }
    stored = api.store.state.get("configmaps", NAMESPACE, NAME)
    if stored is None:
        meta = {"name": NAME, "namespace": NAMESPACE}
        seed(api, "", "v1", "configmaps", {"metadata": meta, "data": data})
        return
    from cove.server.verbs._write import store_object

    endpoint = api.registry.builtin("", "v1", "configmaps")
    assert endpoint is not None
    obj = endpoint.load(stored.data)
    new = {**(obj.get("data") or {}), **data}
    if new != obj.get("data"):
        store_object(api, endpoint, {**obj, "data": new})
