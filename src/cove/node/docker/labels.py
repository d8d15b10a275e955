"""The labels of everything cove makes in an engine; who looks for leftovers goes by them."""

from __future__ import annotations

__all__ = [
    "ATTEMPT",
    "CLUSTER",
    "CONFIG_HASH",
    "CONTAINER",
    "HOME",
    "INSTANCE",
    "OPTIONS",
    "PID",
    "POD",
    "POD_UID",
    "ROLE",
    "SANDBOX",
    "VOLUME",
]

CLUSTER = "dev.cove.cluster"
INSTANCE = "dev.cove.instance"
# The process that made it, and where its cluster is kept; "" for one in memory.
PID = "dev.cove.pid"
HOME = "dev.cove.home"
# What a node of a cluster is (server, agent), what it was made of, and of which options.
ROLE = "dev.cove.role"
CONFIG_HASH = "dev.cove.config-hash"
OPTIONS = "dev.cove.options"
# A volume that outlives its clusters, on purpose; it has no cluster's label.
VOLUME = "dev.cove.volume"
POD_UID = "dev.cove.pod.uid"
POD = "dev.cove.pod"
CONTAINER = "dev.cove.container"
ATTEMPT = "dev.cove.attempt"
# The value of CONTAINER for the sandbox of a pod.
SANDBOX = "POD"
