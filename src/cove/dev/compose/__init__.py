"""Compose files: services as Deployments and Services, as a plan."""

from __future__ import annotations

from cove.dev.compose._read import read

__all__ = ["read"]
