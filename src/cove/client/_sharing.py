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
# Parts under one key that were not known so many times in a row are looked for only now and then.
HOPELESS = 32
AGAIN = 64
# How many parts are known at least; at most twice as many.
KNOWN = 512


class Sharing:
    """A transform for informers: drops ``managedFields`` and shares equal parts of specs.

    What it gives must not be changed, as everything in an informer.  It remembers the
    parts it met last, in two generations, so that its own memory is bounded, and which keys of
    objects have parts that are never met again.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, Any] = {}
        self._old: dict[bytes, Any] = {}
        # How often in a row a part under a key was not known, and an item of a list under one.
        self._missed: dict[str, int] = {}
        self._missed_items: dict[str, int] = {}

    def __call__(self, obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"].pop("managedFields", None)
        spec = obj.get("spec")
        if type(spec) is dict:
            self._of_dict(spec)
        return obj

    def _of_dict(self, value: dict[str, Any]) -> None:
        for key, part in value.items():
            if type(part) is dict or type(part) is list:
                value[key] = self._shared(part, key, self._missed)

    def _parts(self, value: Any, key: str) -> None:
        if type(value) is dict:
            self._of_dict(value)
            return
        for i, part in enumerate(value):
            if type(part) is dict or type(part) is list:
                value[i] = self._shared(part, key, self._missed_items)

    def _shared(self, part: Any, key: str, missed: dict[str, int]) -> Any:
        misses = missed.get(key, 0)
        if misses >= HOPELESS and misses % AGAIN:
            # Every pod's volumes and mounts have a random name in them; what is in those has not.
            missed[key] = misses + 1
            self._parts(part, key)
            return part
        text = orjson.dumps(part)
        if len(text) > LONGEST:
            self._parts(part, key)
            return part
        known = self._young.get(text)
        if known is not None:
            missed[key] = 0
            return known
        known = self._old.get(text)
        if known is None:
            missed[key] = misses + 1
            if len(text) > SHORTEST:
                self._parts(part, key)
            known = part
        else:
            missed[key] = 0
        if len(self._young) >= KNOWN:
            self._old, self._young = self._young, {}
            # Maps have keys of anybody's choice: what is known of them is bounded, too.
            for counts in (self._missed, self._missed_items):
                if len(counts) > KNOWN:
                    counts.clear()
        # A copy, since orjson's own bytes keep the whole buffer they were written to.
        self._young[bytes(memoryview(text))] = known
        return known
