"""Recording: every request to a cluster on a :class:`~cove.testing.timeline.Timeline`.

::

    timeline = Timeline("a test")
    with ServerTap(cluster.api, timeline) as tap:  # embedded: also kubectl, Helm, operators
        client = RecordingTransport(cluster.client.transport, timeline, tap=tap).client(cluster.client)
        with slot() as s:
            await client.get(PODS, "web", "default")
        s.last.response["status"]["phase"]

A :class:`RecordingTransport` does for any engine; the :class:`ServerTap` sees what others ask of
an embedded server.  What is kept is redacted (:mod:`cove.testing.recording.redact`) and bounded
(:mod:`cove.testing.recording.bodies`).
"""

from __future__ import annotations

from cove.testing.recording.calls import Recorded, agent_of
from cove.testing.recording.paths import Asked, asked, is_discovery
from cove.testing.recording.redact import redact, redact_text
from cove.testing.recording.slots import Slot, current_slot, slot
from cove.testing.recording.tap import ServerTap
from cove.testing.recording.transport import RecordingTransport, Source

__all__ = [
    "Asked",
    "Recorded",
    "RecordingTransport",
    "ServerTap",
    "Slot",
    "Source",
    "agent_of",
    "asked",
    "current_slot",
    "is_discovery",
    "redact",
    "redact_text",
    "slot",
]
