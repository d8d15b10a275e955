"""SPDY/3.1 framing, as far as Kubernetes speaks it: bytes to frames and back, no I/O.

Of the protocol it has streams, their headers and data, resets, pings and goodbyes.
Windows are never moved and not looked at: no server or client of Kubernetes does, what
holds a sender back is the connection below.

Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ and
github.com/moby/spdystream, which is what the other end runs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from cove.kube.spdy._dictionary import DICTIONARY
from cove.kube.status import CoveError

__all__ = [
    "CANCEL",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "Data",
    "Decoder",
    "Encoder",
    "Frame",
    "GoAway",
    "Headers",
    "Ping",
    "Reset",
    "Settings",
    "SpdyError",
    "SynReply",
    "SynStream",
    "WindowUpdate",
]

# The longest control frame that is read, and the longest list of headers it unpacks to.
CONTROL_LIMIT = 64 * 1024
HEADERS_LIMIT = 256 * 1024
# The length that fits into a frame's header.
DATA_LIMIT = (1 << 24) - 1

# How far back packed headers look: over the dictionary and a few headers.  By default every
# connection would hold 256 KiB for it, for a few dozen bytes; this is 10 KiB.
WINDOW_BITS = 11

# Why a stream is reset.
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5

# The control bit, and version 3: what 3.1 says of itself, too.
_VERSION = 0x8003
_FIN, _UNIDIRECTIONAL = 1, 2


class _Type(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class SpdyError(CoveError):
    """The other end does not speak SPDY/3.1; nothing more can be read from it."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """A stream is opened.  ``headers`` have lower-case names; ``fin``: no data will follow."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False
    unidirectional: bool = False
    associated: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    """A stream is accepted."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of a stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of a stream; ``fin``: the last."""

    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """A stream ends at once, in both directions."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the connection: (flags, id, value)."""

    values: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back as it is; the client's are odd."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No more streams: ``last`` is the last one that was looked at."""

    last: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """``delta`` more bytes may be sent."""

    stream: int
    delta: int


Frame = SynStream | SynReply | Headers | Data | Reset | Settings | Ping | GoAway | WindowUpdate


class Encoder:
    """Frames to bytes; one per connection, since headers are packed by what went before."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(9, wbits=WINDOW_BITS, memLevel=1, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The bytes of a frame; frames are to be sent in the order they are encoded."""
        match frame:
            case Data(stream, data, fin):
                if len(data) > DATA_LIMIT:
                    raise ValueError(f"{len(data)} bytes do not fit into one frame")
                return _word(stream) + _word(fin << 24 | len(data)) + data
            case SynStream():
                flags = frame.fin * _FIN | frame.unidirectional * _UNIDIRECTIONAL
                head = _word(frame.stream) + _word(frame.associated)
                head += bytes((frame.priority << 5, 0))
                return _control(_Type.SYN_STREAM, flags, head + self._headers(frame.headers))
            case SynReply(stream, headers, fin):
                return _control(_Type.SYN_REPLY, fin * _FIN, _word(stream) + self._headers(headers))
            case Headers(stream, headers, fin):
                return _control(_Type.HEADERS, fin * _FIN, _word(stream) + self._headers(headers))
            case Reset(stream, status):
                return _control(_Type.RST_STREAM, 0, _word(stream) + _word(status))
            case Settings(values):
                body = b"".join(_word(f << 24 | i) + _word(v) for f, i, v in values)
                return _control(_Type.SETTINGS, 0, _word(len(values)) + body)
            case Ping(id):
                return _control(_Type.PING, 0, _word(id))
            case GoAway(last, status):
                return _control(_Type.GOAWAY, 0, _word(last) + _word(status))
            case WindowUpdate(stream, delta):
                return _control(_Type.WINDOW_UPDATE, 0, _word(stream) + _word(delta))

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        parts = [_word(len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                parts += (_word(len(text)), text)
        return self._pack.compress(b"".join(parts)) + self._pack.flush(zlib.Z_SYNC_FLUSH)


def _word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _control(type: _Type, flags: int, body: bytes) -> bytes:
    return _word(_VERSION << 16 | type) + _word(flags << 24 | len(body)) + body


class Decoder:
    """Bytes to frames, however they are cut.

    A long data frame comes out in pieces as it arrives: what is kept between two calls is
    less than one control frame.
    """

    def __init__(self) -> None:
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()
        # What is still to come of a data frame: (stream, bytes, whether it is the last).
        self._rest: tuple[int, int, bool] | None = None

    @property
    def waiting(self) -> int:
        """How many bytes are kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes; raises :class:`SpdyError`.

        What it gives has to be taken to the end before it is fed again.
        """
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        place, end = 0, len(data)
        while place < end:
            if self._rest is not None:
                stream, size, fin = self._rest
                whole = not place and end <= size
                piece = data if whole else data[place : place + size]
                place += len(piece)
                size -= len(piece)
                self._rest = (stream, size, fin) if size else None
                yield Data(stream, piece, fin and not size)
                continue
            if end - place < 8:
                break
            first, second = _at(data, place), _at(data, place + 4)
            flags, length = second >> 24, second & DATA_LIMIT
            if not first >> 31:
                place += 8
                yield from self._data(first, flags, length)
                continue
            if first >> 16 != _VERSION:
                raise SpdyError(f"version {first >> 16 & 0x7FFF} of SPDY is not 3")
            if length > CONTROL_LIMIT:
                raise SpdyError(f"a control frame of {length} bytes is too long")
            if end - place < 8 + length:
                break
            body = data[place + 8 : place + 8 + length]
            place += 8 + length
            yield self._frame(first & 0xFFFF, flags, body)
        self._buffer += data[place:]

    def _data(self, stream: int, flags: int, length: int) -> Iterator[Frame]:
        if not stream:
            raise SpdyError("data of stream 0")
        fin = bool(flags & _FIN)
        if length:
            self._rest = stream, length, fin
        elif fin:
            yield Data(stream, b"", fin)

    def _frame(self, type: int, flags: int, body: bytes) -> Frame:
        try:
            found = self._known(type, flags, body)
        except IndexError as e:
            raise SpdyError(f"a control frame of type {type} is too short") from e
        if isinstance(found, SynStream | SynReply | Headers | Reset) and not found.stream:
            raise SpdyError("stream 0 cannot be used")
        return found

    def _known(self, type: int, flags: int, body: bytes) -> Frame:
        fin = bool(flags & _FIN)
        match type:
            case _Type.SYN_STREAM:
                return SynStream(
                    _at(body, 0) & 0x7FFFFFFF,
                    self._headers(body[10:]),
                    fin,
                    bool(flags & _UNIDIRECTIONAL),
                    _at(body, 4) & 0x7FFFFFFF,
                    body[8] >> 5,
                )
            case _Type.SYN_REPLY:
                return SynReply(_at(body, 0) & 0x7FFFFFFF, self._headers(body[4:]), fin)
            case _Type.HEADERS:
                return Headers(_at(body, 0) & 0x7FFFFFFF, self._headers(body[4:]), fin)
            case _Type.RST_STREAM:
                return Reset(_at(body, 0) & 0x7FFFFFFF, _at(body, 4))
            case _Type.SETTINGS:
                count = _at(body, 0)
                if len(body) != 4 + 8 * count:
                    raise SpdyError("settings are not as long as they say")
                words = [(_at(body, 4 + 8 * n), _at(body, 8 + 8 * n)) for n in range(count)]
                return Settings(tuple((i >> 24, i & 0xFFFFFF, v) for i, v in words))
            case _Type.PING:
                return Ping(_at(body, 0))
            case _Type.GOAWAY:
                return GoAway(_at(body, 0) & 0x7FFFFFFF, _at(body, 4))
            case _Type.WINDOW_UPDATE:
                return WindowUpdate(_at(body, 0) & 0x7FFFFFFF, _at(body, 4) & 0x7FFFFFFF)
        raise SpdyError(f"there is no control frame of type {type}")

    def _headers(self, packed: bytes) -> dict[str, str]:
        try:
            plain = self._unpack.decompress(packed, HEADERS_LIMIT)
        except zlib.error as e:
            raise SpdyError(f"headers cannot be unpacked: {e}") from e
        if self._unpack.unconsumed_tail:
            raise SpdyError(f"headers are longer than {HEADERS_LIMIT} bytes")
        place = 4

        def text() -> str:
            nonlocal place
            start, place = place + 4, place + 4 + _at(plain, place)
            if place > len(plain):
                raise IndexError
            return plain[start:place].decode(errors="replace")

        count = _at(plain, 0)
        if count * 8 > len(plain):
            raise SpdyError(f"{count} headers do not fit into {len(plain)} bytes")
        headers: dict[str, str] = {}
        for _ in range(count):
            name = text().lower()
            if name in headers:
                raise SpdyError(f"header {name!r} is there twice")
            headers[name] = text()
        if place != len(plain):
            raise SpdyError("there is more after the headers")
        return headers


def _at(data: bytes | bytearray, place: int) -> int:
    if place + 4 > len(data):
        raise IndexError
    return int.from_bytes(data[place : place + 4], "big")
