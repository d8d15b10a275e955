"""What makes addresses of pods and services work on this machine."""

from __future__ import annotations

from cove.node.network.bridge import Bridge

__all__ = ["Bridge"]
