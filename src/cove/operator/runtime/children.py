"""Children: what was applied last and what came of it, so that a no-op is not sent.

An apply changes nothing when the same is wanted as before and what the server made of that is
still there.  What others have written beside it does not matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from cove.client.meta import key_of
from cove.kube.gvk import GVR

__all__ = ["Children"]

Doc = dict[str, Any]
# How many children are remembered; who has more applies some of them needlessly.
REMEMBERED = 100_000
_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")


class Children:
    """The last applies of an operator."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._known: OrderedDict[tuple[GVR, str], tuple[bytes, str, bytes]] = OrderedDict()

    def applied(self, gvr: GVR, wanted: Mapping[str, Any], answer: Doc) -> None:
        """An apply of ``wanted`` was answered with this document."""
        key = (gvr, key_of(answer))
        self._known[key] = (
            _digest(wanted),
            answer["metadata"].get("uid", ""),
            _digest(_part(wanted, answer)),
        )
        self._known.move_to_end(key)
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)

    def unchanged(self, gvr: GVR, wanted: Mapping[str, Any], live: Doc) -> bool:
        """Whether applying ``wanted`` to ``live`` would change nothing, as far as is known."""
        known = self._known.get((gvr, key_of(live)))
        if known is None or live["metadata"].get("deletionTimestamp"):
            return False
        digest, uid, part = known
        return (
            uid == live["metadata"].get("uid", "")
            and digest == _digest(wanted)
            and part == _digest(_part(wanted, live))
        )


def _part(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Doc:
    """What ``live`` has in the places that ``wanted`` names."""
    out = {key: _same_shape(value, live.get(key)) for key, value in wanted.items()}
    metadata = wanted.get("metadata") or {}
    there = live.get("metadata") or {}
    out["metadata"] = {
        key: _same_shape(metadata[key], there.get(key)) for key in _METADATA if key in metadata
    }
    return out


def _same_shape(wanted: Any, live: Any) -> Any:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return {key: _same_shape(value, live.get(key)) for key, value in wanted.items()}
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        return [_same_shape(w, v) for w, v in zip(wanted, live, strict=True)]
    return live


def _digest(value: Any) -> bytes:
    return blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=16).digest()
