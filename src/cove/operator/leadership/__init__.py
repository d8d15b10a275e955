"""leadership: which replica works — one of them all, or each on its share."""

from __future__ import annotations

from cove.operator.leadership.elector import Elector, new_identity, run_elected

__all__ = ["Elector", "new_identity", "run_elected"]
