"""Deployment: templates rolled out over ReplicaSets, with revisions to go back to."""

from __future__ import annotations

from cove.controllers.deployment._controller import DeploymentController

__all__ = ["DeploymentController"]
