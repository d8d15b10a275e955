"""SPDY framing: what is encoded is decoded, however it is cut, and garbage is told as such."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cove.kube.spdy import _frames as spdy
from cove.kube.spdy._dictionary import DICTIONARY

IDS = some.integers(1, 2**31 - 1)
NAMES = some.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
HEADERS = some.dictionaries(NAMES, some.text(max_size=40), max_size=5)
WORDS = some.integers(0, 2**32 - 1)
FRAMES: Any = some.one_of(
    some.builds(
        spdy.SynStream,
        stream=IDS,
        headers=HEADERS,
        fin=some.booleans(),
        unidirectional=some.booleans(),
        associated=some.integers(0, 2**31 - 1),
        priority=some.integers(0, 7),
    ),
    some.builds(spdy.SynReply, IDS, HEADERS, some.booleans()),
    some.builds(spdy.Headers, IDS, HEADERS, some.booleans()),
    some.builds(spdy.Data, IDS, some.binary(max_size=200), some.booleans()),
    some.builds(spdy.Reset, IDS, WORDS),
    some.builds(spdy.Ping, WORDS),
    some.builds(spdy.GoAway, some.integers(0, 2**31 - 1), WORDS),
    some.builds(spdy.WindowUpdate, IDS, some.integers(0, 2**31 - 1)),
    some.builds(
        spdy.Settings,
        some.lists(
            some.tuples(some.integers(0, 255), some.integers(0, 2**24 - 1), WORDS), max_size=4
        ).map(tuple),
    ),
)


def joined(frames: list[spdy.Frame]) -> list[spdy.Frame]:
    """Without the bounds inside of data, which mean nothing."""
    found: list[spdy.Frame] = []
    for frame in frames:
        last = found[-1] if found else None
        if isinstance(frame, spdy.Data):
            if isinstance(last, spdy.Data) and last.stream == frame.stream and not last.fin:
                found[-1] = spdy.Data(frame.stream, last.data + frame.data, frame.fin)
                continue
            if not frame.data and not frame.fin:
                continue
        found.append(frame)
    return found


@given(some.lists(FRAMES, max_size=12), some.lists(some.integers(1, 60), min_size=1, max_size=20))
def test_frames_survive_however_the_bytes_are_cut(frames: list[Any], cuts: list[int]) -> None:
    """Headers are packed by what went before, so order is part of it."""
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    data = b"".join(map(encoder.encode, frames))
    found: list[spdy.Frame] = []
    place = turn = 0
    while place < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[place : place + size])
        place, turn = place + size, turn + 1
    assert joined(found) == joined(frames)
    assert decoder.waiting == 0


@given(some.lists(some.binary(max_size=100), max_size=20))
def test_garbage_is_nothing_worse_than_a_protocol_error(pieces: list[bytes]) -> None:
    decoder = spdy.Decoder()
    try:
        for piece in pieces:
            list(decoder.feed(piece))
    except spdy.SpdyError:
        pass
    assert decoder.waiting <= spdy.CONTROL_LIMIT + 8


@given(FRAMES, some.data())
def test_a_damaged_frame_is_nothing_worse_than_a_protocol_error(frame: Any, data: Any) -> None:
    encoded = bytearray(spdy.Encoder().encode(frame))
    place = data.draw(some.integers(0, len(encoded) - 1))
    encoded[place] = data.draw(some.integers(0, 255))
    try:
        list(spdy.Decoder().feed(bytes(encoded)))
    except spdy.SpdyError:
        pass


def control(type: int, body: bytes) -> bytes:
    head = (0x8003 << 16 | type).to_bytes(4, "big")
    return head + len(body).to_bytes(4, "big") + body


def packed(plain: bytes) -> bytes:
    packer = zlib.compressobj(9, zdict=DICTIONARY)
    return packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH)


ONE = (1).to_bytes(4, "big")
PAIR = ONE + b"a" + ONE + b"b"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01", "version 2 of SPDY is not 3"),
        (b"\x80\x03\x00\x01\x00\xff\xff\xff", "a control frame of 16777215 bytes is too long"),
        (control(5, b""), "there is no control frame of type 5"),
        (control(6, b"\0"), "a control frame of type 6 is too short"),
        (control(4, b"\xff\xff\xff\xff"), "settings are not as long as they say"),
        (control(3, b"\0\0\0\0\0\0\0\1"), "stream 0 cannot be used"),
        (b"\0\0\0\0\1\0\0\0", "data of stream 0"),
        (control(2, ONE + b"not packed"), "headers cannot be unpacked"),
        (control(2, ONE + packed(b"\0" * 10_000_000)), "headers are longer than 262144 bytes"),
        (control(2, ONE + packed(b"\xff\xff\xff\xff")), "4294967295 headers do not fit"),
        (control(2, ONE + packed(b"\0\0\0\2" + PAIR + PAIR)), "header 'a' is there twice"),
        (control(2, ONE + packed(ONE + PAIR + b"x")), "there is more after the headers"),
        (control(2, ONE + packed(ONE + b"\0\0\0\x50" + b"a" * 9)), "is too short"),
    ],
)
def test_what_is_no_spdy_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(spdy.SpdyError, match=text):
        list(spdy.Decoder().feed(data))


def test_a_long_frame_of_data_comes_as_it_arrives() -> None:
    """16 MB in one frame are not kept until they are complete."""
    head = (1).to_bytes(4, "big") + b"\x01\xff\xff\xff"
    decoder = spdy.Decoder()
    assert list(decoder.feed(head + b"x" * 100)) == [spdy.Data(1, b"x" * 100)]
    left = spdy.DATA_LIMIT - 100
    assert list(decoder.feed(b"y" * left)) == [spdy.Data(1, b"y" * left, fin=True)]
    assert decoder.waiting == 0


def test_data_that_does_not_fit_is_not_sent() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        spdy.Encoder().encode(spdy.Data(1, bytes(spdy.DATA_LIMIT + 1)))


def test_the_dictionary_is_the_one_everybody_has() -> None:
    """Its checksum is what packed headers name it by."""
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
