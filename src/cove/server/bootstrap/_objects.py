"""The objects of a new cluster, in the order they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cove.server.bootstrap._seed import seed

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["bootstrap"]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def bootstrap(api: Api) -> None:
    """Fill an empty store; objects that are there already stay as they are."""
    state = api.store.state
    for name in NAMESPACES:
        if state.get("namespaces", "", name) is None:
            seed(api, "", "v1", "namespaces", {"metadata": {"name": name}})
