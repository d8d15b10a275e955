"""Conditions of a status: set where they change, with the time of the change.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from cove.operator.entities import Condition, Entity

__all__ = ["condition", "is_true", "set_condition"]


def condition(conditions: list[Condition], type: str) -> Condition | None:
    """The condition of that type, None if there is none."""
    return next((c for c in conditions if c.type == type), None)


def is_true(conditions: list[Condition], type: str) -> bool:
    """Whether there is a condition of that type, and it is True."""
    found = condition(conditions, type)
    return found is not None and found.status == "True"


def set_condition(
    conditions: list[Condition],
    type: str,
    status: Literal["True", "False", "Unknown"] | bool,
    reason: str,
    message: str = "",
    *,
    about: Entity | None = None,
    now: datetime | None = None,
) -> bool:
    """Put a condition into a list, in place of one of its type; whether that changed anything.

    ``about`` is the object whose generation it was made for.  The time of transition is
    ``now`` (None: this moment) where the status is another one than before, else it stays.
    """
    said: Literal["True", "False", "Unknown"]
    said = status if isinstance(status, str) else "True" if status else "False"
    found = condition(conditions, type)
    generation = (about.metadata.generation if about is not None else None) or None
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    made = Condition(
        type=type,
        status=said,
        reason=reason,
        message=message,
        last_transition_time=moment
        if found is None or found.status != said
        else found.last_transition_time,
        observed_generation=generation,
    )
    if made == found:
        return False
    if found is None:
        conditions.append(made)
    else:
        conditions[conditions.index(found)] = made
    return True
