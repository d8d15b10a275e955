"""Kept: the cluster of a failed test, to be entered after the run (``--cove-keep``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cove.engines.home import ClusterFolder, Settings
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.engines.snapshots import Snapshot
    from cove.testing.place import Place

__all__ = ["Kept", "keep"]


@dataclass(frozen=True)
class Kept:
    """A cluster that is to stay.  ``snapshot`` None: it stays by itself (a namespace)."""

    test: str
    name: str
    how: str
    settings: Settings | None = None
    snapshot: Snapshot | None = None
    problem: str = ""

    @classmethod
    def of(cls, place: Place, test: str) -> Kept:
        """What a test's cluster is now; what does not run in this process is told to stay."""
        running = place.running
        if running is None:
            place.kept = True
            how = (
                f"{place.name} stays as it is: the namespace {place.namespace} of {place.url}; "
                f"kubectl delete namespace {place.namespace} removes it"
            )
            return cls(test, place.namespace, how)
        name = _free_name(test)
        settings = _settings(place)
        how = f'{place.name} is kept: eval "$(cove env -n {name})" enters it, cove reset -n {name} removes it'
        return cls(test, name, how, settings, place.bridge.do(running.snapshot))


def _settings(place: Place) -> Settings:
    """Those of the cluster the test had a copy of."""
    cluster: Any = getattr(place.running, "_cluster", place.running)
    settings: Settings = cluster.settings
    return replace(settings, in_memory=False, port=0)


def _free_name(test: str) -> str:
    """``kept-test-web``, with a number where that is taken."""
    tail = test.rpartition("::")[2] or test
    word = re.sub(r"[^a-z0-9]+", "-", tail.lower()).strip("-")[:30].strip("-") or "test"
    number = 1
    while True:
        name = f"kept-{word}" if number == 1 else f"kept-{word}-{number}"
        if not ClusterFolder(name).path.exists():
            ClusterFolder(name).create()
            return name
        number += 1


def keep(kept: Kept) -> Kept:
    """Start it in the background, once the test's own has ended; a problem is told, not raised."""
    if kept.snapshot is None or kept.settings is None:
        return kept
    from cove.engines.process import start

    folder = ClusterFolder(kept.name)
    try:
        folder.create()
        kept.snapshot.save(folder.store)
        start(kept.name, kept.settings)
    except (CoveError, OSError) as e:
        return replace(kept, problem=f"the cluster of {kept.test} could not be kept: {e}")
    return kept
