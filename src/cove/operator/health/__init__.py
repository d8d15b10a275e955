"""health: whether an operator lives, and whether it is ready; and where that is asked."""

from __future__ import annotations

from cove.operator.health.checks import Check, Health, Report
from cove.operator.health.server import HealthServer, serving

__all__ = ["Check", "Health", "HealthServer", "Report", "serving"]
