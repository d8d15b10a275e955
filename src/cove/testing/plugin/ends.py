"""Ends: the states that tests ended in, for those that start from them — in any process of a run."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import orjson
import watchfiles

from cove.engines.snapshots import Snapshot

__all__ = ["End", "Ends"]

# Seconds that a test waits for another one, in another process, to end.
PATIENCE = 300.0
# None: the test did not pass.
End = dict[str, Snapshot] | None


class Ends:
    """``folder`` is that of all processes, None where there is only this one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, End] = {}

    def put(self, nodeid: str, end: End) -> None:
        """Remember how a test ended."""
        self._known[nodeid] = end
        if self._folder is None:
            return
        target = self._path(nodeid)
        made = target.with_name(f"{target.name}.{os.getpid()}")
        made.mkdir(parents=True)
        ahead = {}
        for name, snapshot in (end or {}).items():
            snapshot.save(made / f"{name}.db")
            ahead[name] = snapshot.ahead
        (made / "end.json").write_bytes(orjson.dumps({"passed": end is not None, "ahead": ahead}))
        # All at once: who finds it finds it whole.
        made.rename(target)

    def get(self, nodeid: str) -> End:
        """How a test ended; waits for one that runs in another process.

        Raises LookupError if it has not ended in time.
        """
        if nodeid not in self._known:
            self._known[nodeid] = self._other(nodeid)
        return self._known[nodeid]

    def _other(self, nodeid: str) -> End:
        if self._folder is None:
            raise LookupError(f"{nodeid} has not run")
        path = self._path(nodeid)
        until = time.monotonic() + PATIENCE
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in watchfiles.watch(
            path.parent, yield_on_timeout=True, rust_timeout=500, debounce=50, step=10
        ):
            if path.exists():
                break
            if time.monotonic() > until:
                raise LookupError(
                    f"{nodeid} has not ended within {PATIENCE:g} s: it is in another process of "
                    "this run, or comes later in this one; distribute both to one (--dist loadfile "
                    "with both in one module)"
                )
        told = orjson.loads((path / "end.json").read_bytes())
        if not told["passed"]:
            return None
        return {name: _loaded(path / f"{name}.db", ahead) for name, ahead in told["ahead"].items()}

    def _path(self, nodeid: str) -> Path:
        assert self._folder is not None, "there are other processes"
        return self._folder / "ends" / hashlib.sha256(nodeid.encode()).hexdigest()[:24]


def _loaded(path: Path, ahead: float) -> Snapshot:
    found = Snapshot.load(path)
    return Snapshot(found.state, found.taken, ahead)
