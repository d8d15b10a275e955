"""cove: a Kubernetes you carry with you.

::

    async with cove.embedded() as cluster:
        async with cluster.fork() as fork: ...

What is used is imported when it is first named: ``import cove`` costs nearly nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove._version import __version__

if TYPE_CHECKING:
    from cove.client import Client
    from cove.engines.embedded import EmbeddedCluster, Fork, embedded
    from cove.engines.k3s_options import K3sOptions
    from cove.host.app import App
    from cove.kube.status import CoveError, StatusError
    from cove.testing.declarations import cluster

__all__ = [
    "App",
    "Client",
    "CoveError",
    "EmbeddedCluster",
    "Fork",
    "K3sOptions",
    "StatusError",
    "__version__",
    "cluster",
    "embedded",
]

_HOMES = {
    "App": "cove.host.app",
    "Client": "cove.client",
    "CoveError": "cove.kube.status",
    "EmbeddedCluster": "cove.engines.embedded",
    "Fork": "cove.engines.embedded",
    "K3sOptions": "cove.engines.k3s_options",
    "StatusError": "cove.kube.status",
    "cluster": "cove.testing.declarations",
    "embedded": "cove.engines.embedded",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'cove' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
