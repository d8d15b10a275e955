"""Events of an operator: published without waiting, counted when they are the same again."""

from __future__ import annotations

from typing import Any

from cove.client import Recorder
from cove.client.recorder import reference
from cove.operator.entities import Entity, EntityInfo, info, to_document

__all__ = ["EventPublisher"]

Doc = dict[str, Any]


class EventPublisher:
    """Publishes through a Recorder, which bounds, counts and never fails its caller."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def publish(
        self,
        about: Entity,
        reason: str,
        message: str,
        *,
        type: str = "Normal",
        action: str = "",
    ) -> None:
        """Tell about an object."""
        said = info(about)
        involved = reference(to_document(about), said.api_version, said.kind)
        self._recorder.event(involved, type, reason, message)

    def about_document(
        self, doc: Doc, said: EntityInfo, reason: str, message: str, type: str = "Warning"
    ) -> None:
        """Tell about an object that may not be of its type."""
        self._recorder.event(reference(doc, said.api_version, said.kind), type, reason, message)

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be written."""
        return self._recorder.quiet
