"""skaffold.yaml: what people have who come from Skaffold, as a plan."""

from __future__ import annotations

from cove.dev.skaffold._read import read

__all__ = ["read"]
