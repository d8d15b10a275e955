"""Subresources and resources that are questions: what answers for which verb."""

from __future__ import annotations

from cove.server.registry import STATUS, Handler

__all__ = ["SPECIALS", "SUBRESOURCES"]

SUBRESOURCES: dict[tuple[str, str], dict[str, Handler]] = {
    ("*", "status"): STATUS,
}

SPECIALS: dict[str, dict[str, Handler]] = {}
