"""The k3s engine: a server and its agents as containers of Docker or Podman."""

from __future__ import annotations

from cove.engines.k3s.cluster import K3sCluster, K3sError

__all__ = ["K3sCluster", "K3sError"]
