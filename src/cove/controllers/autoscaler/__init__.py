"""HorizontalPodAutoscaler: replicas by what pods use, or by any other number."""

from __future__ import annotations

from cove.controllers.autoscaler._controller import HorizontalPodAutoscaler

__all__ = ["HorizontalPodAutoscaler"]
