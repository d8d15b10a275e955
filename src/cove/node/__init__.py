"""What a node does: register, beat, run the pods that are bound to it.

:class:`SimulatedNodes` are nodes without containers; they say so wherever one looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from cove.client import Client, Clock, Informers
from cove.node.agent import NodeAgent
from cove.node.driver import ContainerState, Driver, Runtime
from cove.node.nodes import NodeSpec
from cove.node.simulated import SimulatedDriver

__all__ = [
    "ContainerState",
    "Driver",
    "NodeAgent",
    "NodeSpec",
    "Runtime",
    "SimulatedDriver",
    "SimulatedNodes",
    "simulated_specs",
]

POD_SUBNET = ip_network("10.244.0.0/16")
# Where simulated nodes pretend to be: reserved for documentation and benchmarks (RFC 2544).
NODE_SUBNET = ip_network("198.18.0.0/15")


def simulated_specs(
    count: int,
    *,
    prefix: str = "node",
    capacity: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> list[NodeSpec]:
    """``count`` nodes called node-0, node-1, … with addresses of their own."""
    base = int(NODE_SUBNET.network_address) + 1
    return [
        NodeSpec(
            name=f"{prefix}-{index}",
            address=str(ip_address(base + index)),
            capacity=capacity or {},
            labels=labels or {},
        )
        for index in range(count)
    ]


class SimulatedNodes(NodeAgent):
    """Simulated nodes: ``async with SimulatedNodes(client, 3)``.

    ``nodes`` is a number of them or their specifications.  See
    :mod:`cove.node.simulated` for the annotation that makes pods end.
    """

    def __init__(
        self,
        client: Client,
        nodes: int | Sequence[NodeSpec],
        *,
        pod_subnet: IPv4Network | IPv6Network = POD_SUBNET,
        informers: Informers | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            client,
            SimulatedDriver(clock),
            simulated_specs(nodes) if isinstance(nodes, int) else nodes,
            pod_subnet,
            informers=informers,
            clock=clock,
        )
