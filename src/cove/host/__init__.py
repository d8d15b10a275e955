"""host: an application — clusters, Helm releases, manifests, endpoints, processes — as one.

:class:`App` declares it, :class:`Host` is it while it runs.
"""

from __future__ import annotations

from cove.host.app import App
from cove.host.board import BlockedError, UnknownResourceError, WaitTimeoutError
from cove.host.errors import AppError, InvalidNameError, ResourceError
from cove.host.graph import GraphError
from cove.host.host import Host
from cove.host.load import load
from cove.host.states import State, Status

__all__ = [
    "App",
    "AppError",
    "BlockedError",
    "GraphError",
    "Host",
    "InvalidNameError",
    "ResourceError",
    "State",
    "Status",
    "UnknownResourceError",
    "WaitTimeoutError",
    "load",
]
