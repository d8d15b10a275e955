"""The labels of everything cove makes in an engine; who looks for leftovers goes by them."""

from __future__ import annotations

__all__ = [
    "ATTEMPT",
    "CLUSTER",
    "CONTAINER",
    "HOME",
    "INSTANCE",
    "PID",
    "POD",
    "POD_UID",
    "SANDBOX",
]

CLUSTER = "dev.cove.cluster"
INSTANCE = "dev.cove.instance"
# The process that made it, and where its cluster is kept; "" for one in memory.
PID = "dev.cove.pid"
HOME = "dev.cove.home"
POD_UID = "dev.cove.pod.uid"
POD = "dev.cove.pod"
CONTAINER = "dev.cove.container"
ATTEMPT = "dev.cove.attempt"
# The value of CONTAINER for the sandbox of a pod.
SANDBOX = "POD"
