"""``cove operator``: the commands of operators; they are in :mod:`cove.operator.commands`."""

from __future__ import annotations

from cove.operator.commands._app import app

__all__ = ["app"]
