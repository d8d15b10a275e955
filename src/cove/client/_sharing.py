"""Equal parts of many objects kept once.

A thousand pods of one ReplicaSet differ in a few names; decoded one by one they still
hold a thousand copies of their tolerations, volumes and resources.
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["Sharing"]

# Parts longer than this, as JSON, are seldom met again; those shorter are hardly worth a
# look of their own.
LONGEST = 1024
SHORTEST = 24
# How many parts are known at least; at most twice as many.
KNOWN = 512


class Sharing:
    """A transform for informers: drops ``managedFields`` and shares equal parts of specs.

    What it gives must not be changed, as everything in an informer.  It remembers the
    parts it met last, in two generations, so that its own memory is bounded.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, Any] = {}
        self._old: dict[bytes, Any] = {}

    def __call__(self, obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"].pop("managedFields", None)
        spec = obj.get("spec")
        if type(spec) is dict:
            self._parts(spec)
        return obj

    def _parts(self, value: Any) -> None:
        for key, part in value.items() if type(value) is dict else enumerate(value):
            if type(part) is dict or type(part) is list:
                value[key] = self._shared(part)

    def _shared(self, part: Any) -> Any:
        text = orjson.dumps(part)
        if len(text) > LONGEST:
            self._parts(part)
            return part
        known = self._young.get(text)
        if known is None:
            known = self._old.get(text)
            if known is None:
                if len(text) > SHORTEST:
                    self._parts(part)
                known = part
            if len(self._young) >= KNOWN:
                self._old, self._young = self._young, {}
            # A copy, since orjson's own bytes keep the whole buffer they were written to.
            self._young[bytes(memoryview(text))] = known
        return known
