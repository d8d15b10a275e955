"""The types of events/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cove.operator.entities import Kind, MicroTime, ObjectReference, Part, builtin, field
from cove.operator.kinds import core_v1
from cove.operator.markers import Int32, Required

__all__ = ["Event", "EventSeries"]


class EventSeries(Part):
    count: Int32
    last_observed_time: Annotated[MicroTime | None, Required()] = None


@builtin("events.k8s.io/v1", "events", short_names=("ev",))
class Event(Kind):
    event_time: Annotated[MicroTime | None, Required()] = None
    series: EventSeries | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    action: str = ""
    reason: str = ""
    regarding: ObjectReference = field(default_factory=ObjectReference)
    related: ObjectReference | None = None
    note: str = ""
    type: str = ""
    deprecated_source: core_v1.EventSource = field(default_factory=core_v1.EventSource)
    deprecated_first_timestamp: datetime | None = None
    deprecated_last_timestamp: datetime | None = None
    deprecated_count: Int32 = 0
