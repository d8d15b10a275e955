"""What kube-scheduler does: choose a node for every pod."""

from __future__ import annotations

from cove.controllers.scheduler._scheduler import Scheduler

__all__ = ["Scheduler"]
