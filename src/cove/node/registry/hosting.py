"""How tools learn of the cluster's registry.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-cluster-lifecycle/generic/1755-communicating-a-local-registry
"""

from __future__ import annotations

from typing import Any

import yaml

from cove.client import Client
from cove.kube.gvk import GVR
from cove.kube.status import StatusError
from cove.node.registry.references import NAME

__all__ = ["announce", "hosting"]

Doc = dict[str, Any]

CONFIG_MAPS = GVR("", "v1", "configmaps")
NAMESPACE, CONFIG_MAP = "kube-public", "local-registry-hosting"


def hosting(port: int, inside: str = "") -> Doc:
    """The ConfigMap: where to push from this machine, what nodes pull, what pods say.

    ``inside`` is the address that nodes and pods have for it, where that is one and the same.
    """
    told = {
        "host": f"localhost:{port}",
        "hostFromContainerRuntime": inside or f"localhost:{port}",
        "hostFromClusterNetwork": inside or f"{NAME}:{port}",
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
        "data": {"localRegistryHosting.v1": yaml.safe_dump(told, sort_keys=False)},
    }


async def announce(client: Client, port: int, inside: str = "") -> None:
    """Write the ConfigMap (see :func:`hosting`), in place of the one of an earlier run."""
    doc = hosting(port, inside)
    try:
        await client.create(CONFIG_MAPS, doc)
    except StatusError as e:
        if e.reason != "AlreadyExists":
            raise
        await client.patch(CONFIG_MAPS, CONFIG_MAP, {"data": doc["data"]}, NAMESPACE)
