"""The objects of a new cluster, in the order they are made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from cove.server.apiservices import builtin_documents
from cove.server.bootstrap import _flowcontrol, _rbac
from cove.server.bootstrap._seed import seed

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["bootstrap"]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
FLOW = ("flowcontrol.apiserver.k8s.io", "v1")
RBAC = (_rbac.GROUP, "v1")

Made = tuple[str, str, str, dict[str, Any]]


def _priority_class(name: str, value: int, description: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value, "description": description}


def _objects(api: Api) -> Iterator[Made]:
    for name in NAMESPACES:
        yield "", "v1", "namespaces", {"metadata": {"name": name}}
    for doc in (
        _priority_class(
            "system-node-critical",
            2000001000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        _priority_class(
            "system-cluster-critical",
            2000000000,
            "Used for system critical pods that must run in the cluster, but can be moved to "
            "another node if necessary.",
        ),
    ):
        yield "scheduling.k8s.io", "v1", "priorityclasses", doc
    for doc in _flowcontrol.priority_levels():
        yield *FLOW, "prioritylevelconfigurations", doc
    for doc in _flowcontrol.flow_schemas():
        yield *FLOW, "flowschemas", doc
    for doc in _rbac.cluster_roles():
        yield *RBAC, "clusterroles", doc
    for doc in _rbac.cluster_bindings():
        yield *RBAC, "clusterrolebindings", doc
    for doc in _rbac.local_roles():
        yield *RBAC, "roles", doc
    for doc in _rbac.local_bindings():
        yield *RBAC, "rolebindings", doc
    yield (
        "networking.k8s.io",
        "v1",
        "servicecidrs",
        {
            "metadata": {
                "name": "kubernetes",
                "finalizers": ["networking.k8s.io/service-cidr-finalizer"],
            },
            "spec": {"cidrs": [str(api.config.service_subnet)]},
            "status": {
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True",
                        "lastTransitionTime": api.timestamp(),
                        "reason": "",
                        "message": "Kubernetes Service CIDR is ready",
                    }
                ]
            },
        },
    )


def _storage_class() -> dict[str, Any]:
    return {
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "cove.dev/local",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def bootstrap(api: Api, *, storage_class: bool = False) -> None:
    """Fill an empty store; objects that are there already stay as they are.

    ``storage_class``: a new cluster gets a default one.  It is the user's from then on: who
    deletes it does not find it again after a restart.
    """
    state = api.store.state
    if storage_class and state.get("namespaces", "", "default") is None:
        seed(api, "storage.k8s.io", "v1", "storageclasses", _storage_class())
    for group, version, plural, doc in chain(_objects(api), builtin_documents(api)):
        meta = doc["metadata"]
        storage = f"{plural}.{group}" if group else plural
        if state.get(storage, meta.get("namespace", ""), meta["name"]) is None:
            seed(api, group, version, plural, doc)
    from cove.server.hooks.flowschemas import settle_all

    settle_all(api)
    _kubernetes_service(api)


def _kubernetes_service(api: Api) -> None:
    """The service at the first address of the subnet, by which pods reach the API."""
    if api.store.state.get("services", "default", "kubernetes") is not None:
        return
    endpoint = api.registry.builtin("", "v1", "services")
    assert endpoint is not None
    address = str(next(api.config.service_subnet.hosts()))
    from cove.server.hooks.services import take_address

    meta = {"name": "kubernetes", "namespace": "default"}
    take_address(api, address, meta)
    seed(
        api,
        "",
        "v1",
        "services",
        {
            "metadata": {
                **meta,
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": address,
                "clusterIPs": [address],
                "ipFamilies": [f"IPv{api.config.service_subnet.version}"],
                "ipFamilyPolicy": "SingleStack",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
            },
        },
    )
