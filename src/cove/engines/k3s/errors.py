"""The error of clusters of k3s."""

from __future__ import annotations

from cove.kube.status import CoveError

__all__ = ["K3sError"]


class K3sError(CoveError):
    """The cluster's containers could not be had, or have ended."""
