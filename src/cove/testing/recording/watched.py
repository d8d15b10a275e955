"""What a watch delivered, without decoding its objects."""

from __future__ import annotations

from collections import deque

import msgspec

from cove.testing.timeline import Seen

__all__ = ["SEEN", "Watched"]

# So many events of a watch are remembered: the last ones.
SEEN = 1000
# Bytes that wait to be looked at; beyond them the metadata is taken out and the rest dropped.
_WAITING = 256 * 1024
# A line that is longer is not looked at.
_LINE = 4 * 1024 * 1024


class _Metadata(msgspec.Struct, rename="camel"):
    namespace: str = ""
    name: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Event(msgspec.Struct):
    type: str
    object: _Object = msgspec.field(default_factory=_Object)


_decode = msgspec.json.Decoder(_Event).decode


class Watched:
    """The events in the chunks of a watch's stream, read when somebody asks."""

    __slots__ = ("_chunks", "_rest", "_seen", "_size")

    def __init__(self) -> None:
        self._chunks: list[tuple[float, bytes]] = []
        self._size = 0
        self._rest = b""
        self._seen: deque[Seen] = deque(maxlen=SEEN)

    def add(self, at: float, chunk: bytes) -> None:
        """Take a chunk that came at a timeline's time."""
        self._chunks.append((at, chunk))
        self._size += len(chunk)
        if self._size > _WAITING:
            self._fold()

    @property
    def events(self) -> list[Seen]:
        """The last of them, in order."""
        self._fold()
        return list(self._seen)

    def _fold(self) -> None:
        chunks, self._chunks, self._size = self._chunks, [], 0
        for at, chunk in chunks:
            *lines, rest = (self._rest + chunk).split(b"\n")
            self._rest = rest if len(rest) <= _LINE else b""
            for line in lines:
                try:
                    event = _decode(line)
                except msgspec.MsgspecError:
                    # Protobuf, or an object without metadata: a watch of something else.
                    continue
                meta = event.object.metadata
                self._seen.append(
                    Seen(at, event.type, meta.namespace, meta.name, meta.resource_version)
                )
