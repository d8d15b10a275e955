"""What makes addresses of pods and services work on this machine.

::

    async with ClusterNetwork(client, informers=…, bridge=…, key="0c0ffee0", …) as network:
        network.dns_address
"""

from __future__ import annotations

from cove.node.network.bridge import Bridge
from cove.node.network.dns import ResolvConf, host_resolv_conf, resolv_conf
from cove.node.network.loadbalancer import CLASS
from cove.node.network.machine import MachineLacksError, missing
from cove.node.network.network import ClusterNetwork, reap

__all__ = [
    "CLASS",
    "Bridge",
    "ClusterNetwork",
    "MachineLacksError",
    "ResolvConf",
    "host_resolv_conf",
    "missing",
    "reap",
    "resolv_conf",
]
