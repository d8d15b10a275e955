"""A Deployment's new size, spread over the sets it has without taking a rollout further.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
"""

from __future__ import annotations

from typing import Any

from cove.controllers.deployment import _revisions as rev
from cove.controllers.deployment._work import Work

__all__ = ["Scaling"]

Doc = dict[str, Any]


class Scaling(Work):
    """Sizing without rolling."""

    def _scaling(self) -> bool:
        """Whether the Deployment was resized since its sets were."""
        new = rev.find_new(self.d, self.sets)
        for rs in rev.active(self._join(new, rev.olds(new, self.sets))):
            desired = rs["metadata"].get("annotations", {}).get(rev.DESIRED)
            if desired is not None and desired != str(rev.replicas(self.d)):
                return True
        return False

    async def _scale(self, new: Doc | None, old: list[Doc]) -> None:
        wanted = rev.replicas(self.d)
        running = rev.active(self._join(new, old))
        if len(running) <= 1:
            only = running[0] if running else new
            if only is None:
                only = max(old, key=rev.by_age, default=None)
            if only is not None and rev.replicas(only) != wanted:
                await self._resize(only, wanted)
            return
        if rev.saturated(self.d, new):
            for rs in rev.active(old):
                await self._resize(rs, 0)
            return
        if rev.is_rolling(self.d):
            await self._scale_in_proportion(running)

    async def _scale_in_proportion(self, running: list[Doc]) -> None:
        """Spread a new size over several sets as they are sized now: no new rollout step."""
        wanted = rev.replicas(self.d)
        allowed = wanted + rev.max_surge(self.d) if wanted > 0 else 0
        total = rev.spec_sum(running)
        to_add = allowed - total
        # The largest first; of equals the newest when growing, the oldest when shrinking.
        running = sorted(running, key=rev.by_age, reverse=to_add > 0)
        running.sort(key=rev.replicas, reverse=True)
        sizes: list[int] = []
        added = 0
        for rs in running:
            size = rev.replicas(rs)
            if to_add:
                share = self._share(rs, to_add, added)
                size += share
                added += share
            sizes.append(size)
        sizes[0] = max(sizes[0] + to_add - added, 0)
        for rs, size in zip(running, sizes, strict=True):
            await self._resize(rs, size)

    def _share(self, rs: Doc, to_add: int, added: int) -> int:
        size = rev.replicas(rs)
        left = to_add - added
        if size == 0 or left == 0:
            return 0
        wanted = rev.replicas(self.d)
        if wanted == 0:
            share = -size
        else:
            most = int(rs["metadata"].get("annotations", {}).get(rev.MAX, "0") or 0)
            most = most or int(self.d.get("status", {}).get("replicas", 0)) or size
            target = wanted + rev.max_surge(self.d)
            # Half away from zero, as Go rounds.
            share = int(size * target / most + 0.5) - size
        return min(share, left) if to_add > 0 else max(share, left)
