"""Values that documents write otherwise than msgspec would.

Durations are Go's ``1h2m3s``, micro-times have exactly six decimals, quantities their
canonical text; models of pydantic read and write themselves.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

from cove.kube import quantity, times

__all__ = ["Duration", "MicroTime", "decode_value", "encode_value", "is_pydantic"]


class MicroTime(datetime):
    """An instant as Leases and Events write it: ``MicroTime.now(UTC)``."""


class Duration(timedelta):
    """What a field of type ``timedelta`` is read into."""


def is_pydantic(cls: Any) -> bool:
    """Whether a class is a model of pydantic's; without pydantic, nothing is."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def encode_value(value: Any) -> Any:
    """msgspec's hook for what it does not know; TypeError for what nobody knows."""
    if isinstance(value, timedelta):
        # Exact: a float of seconds would lose microseconds after some years.
        micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
        return times.format_duration(micros * 1000)
    if isinstance(value, MicroTime):
        return times.format_micro_time(value)
    if isinstance(value, datetime):
        return times.format_time(value)
    if isinstance(value, quantity.Quantity):
        return str(value)
    if is_pydantic(type(value)):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} is no value of a document")


def decode_value(cls: type, value: Any) -> Any:
    """msgspec's other hook; ValueError in words for a value that is no ``cls``."""
    if is_pydantic(cls):
        return cls.model_validate(value)  # type: ignore[attr-defined]  # is_pydantic saw it
    if cls is quantity.Quantity:
        if not isinstance(value, (str, int)):
            raise ValueError("expected a quantity")
        return quantity.parse(value)
    if not isinstance(value, str):
        raise ValueError("expected a string")
    if cls is Duration:
        return Duration(microseconds=times.parse_duration(value) // 1000)
    if cls is MicroTime:
        instant = times.parse_micro_time(value)
        return MicroTime.fromtimestamp(instant.timestamp(), instant.tzinfo)
    raise ValueError(f"{cls.__name__} is no type that documents hold")
