"""Driver: what runs a pod's containers.

A :class:`~cove.node.agent.NodeAgent` does what a kubelet does towards the API server; its
driver does it towards a container runtime, or pretends to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["ContainerState", "Driver", "Report", "Runtime"]

Doc = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container: a ContainerState document (``running``, ``waiting``, ``terminated``) and
    what goes with it.  ``id`` is ``RUNTIME://ID``, "" while there is none."""

    state: Mapping[str, Any]
    ready: bool = False
    restarts: int = 0
    id: str = ""
    image_id: str = ""
    last: Mapping[str, Any] = field(default_factory=dict)


# Container name → state, init and ephemeral containers included.
States = Mapping[str, ContainerState]
Report = Callable[[States], None]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a driver says of itself in ``status.nodeInfo`` and on its nodes.

    ``simulated``: it runs nothing, and everybody shall know.
    """

    version: str
    simulated: bool = False
    architecture: str = "amd64"
    os: str = "linux"
    os_image: str = ""
    kernel_version: str = ""


class Driver(Protocol):
    """Runs pods.  Its methods are called once per pod, never two at a time for one."""

    runtime: Runtime

    async def start(self, pod: Doc, address: str, report: Report) -> None:
        """Run the pod's containers; ``report`` their states now and whenever they change.

        Returns when starting has begun.  Raises to have it tried again later.
        """

    async def stop(self, pod: Doc, grace: float) -> None:
        """End the pod's containers, politely for ``grace`` seconds; returns when they ended.

        A pod that was never started is nothing to do.
        """

    async def close(self) -> None:
        """Release what the driver holds; pods that run stay or end as it sees fit."""
