"""Recording and replay: a run against a real cluster becomes a fixture.

``cove record --context prod -o run.cove -- kubectl get pods`` writes a recording down.  Afterwards

- :func:`replayed` is an embedded cluster with the objects that were there when it began
- :class:`StrictTransport` answers the recorded requests as they were answered, and refuses others
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cove.testing.replay.proxy import RecordingProxy
    from cove.testing.replay.recording import Entry, Recording, RecordingError, Writer
    from cove.testing.replay.state import Item, initial
    from cove.testing.replay.strict import NoRecordingError, StrictTransport, strict_client
    from cove.testing.replay.world import load_into, replayed

__all__ = [
    "Entry",
    "Item",
    "NoRecordingError",
    "Recording",
    "RecordingError",
    "RecordingProxy",
    "StrictTransport",
    "Writer",
    "initial",
    "load_into",
    "replayed",
    "strict_client",
]

_HOMES = {
    "proxy": ("RecordingProxy",),
    "recording": ("Entry", "Recording", "RecordingError", "Writer"),
    "state": ("Item", "initial"),
    "strict": ("NoRecordingError", "StrictTransport", "strict_client"),
    "world": ("load_into", "replayed"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
