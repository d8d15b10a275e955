"""Job: pods that run to their end, counted."""

from __future__ import annotations

from cove.controllers.job._controller import JobController

__all__ = ["JobController"]
