"""leadership: which replica works — one of them all, or each on its share."""

from __future__ import annotations

from cove.operator.leadership.elector import Elector, new_identity, run_elected
from cove.operator.leadership.shards import Shards, run_sharded, shard_of

__all__ = ["Elector", "Shards", "new_identity", "run_elected", "run_sharded", "shard_of"]
