"""Driver: what runs a pod's containers.

A :class:`~cove.node.agent.NodeAgent` does what a kubelet does towards the API server; its
driver does it towards a container runtime, or pretends to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["ContainerState", "Driver", "PodState", "Report", "Runtime", "States"]

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
    # As the runtime names it; "" is as the pod does.
    image: str = ""
    # Whether its startup probe has succeeded; None: it has none.
    started: bool | None = None
    # The resources that it runs with; None: those of the spec.
    resources: Mapping[str, Any] | None = None


# Container name → state, init and ephemeral containers included.
States = Mapping[str, ContainerState]


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod: its containers, and what is true of it as a whole.

    ``network`` whether it has its address; ``reason`` and ``message`` of why it failed as a
    whole, "" otherwise.
    """

    containers: States
    network: bool = True
    reason: str = ""
    message: str = ""


Report = Callable[[PodState], None]


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
    """Runs pods.  :meth:`start` is called once per pod, and never while another call for it runs."""

    runtime: Runtime

    async def start(self, pod: Doc, address: str, report: Report) -> None:
        """Run the pod's containers; ``report`` their states now and whenever they change.

        Returns when starting has begun.  Raises to have it tried again later.
        """

    def update(self, pod: Doc) -> None:
        """A pod that was started has changed: ephemeral containers, images, labels, resources."""

    async def stop(self, pod: Doc, grace: float) -> None:
        """End the pod's containers, politely for ``grace`` seconds; returns when they ended.

        Nothing of the pod is left then.  A pod that was never started may have containers
        of before; a second call while the first runs can only make it shorter.
        """

    async def close(self) -> None:
        """Release what the driver holds; pods that run stay or end as it sees fit."""
