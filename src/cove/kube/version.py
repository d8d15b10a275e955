"""The Kubernetes whose behaviour cove imitates."""

from __future__ import annotations

__all__ = ["KUBERNETES", "MAJOR", "MINOR"]

KUBERNETES = "v1.36.2"
MAJOR = "1"
MINOR = "36"
