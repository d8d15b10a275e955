"""Nodes whose pods are containers of Docker, or of Podman through the same API."""

from __future__ import annotations

from cove.node.docker.engine import EngineAddress, EngineError, candidates, find_engine

__all__ = ["EngineAddress", "EngineError", "candidates", "find_engine"]
