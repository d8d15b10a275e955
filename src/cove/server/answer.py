"""Answers as they are written: a whole one at once, a stream piece by piece, the head made for it.

aiohttp's own response has cookies, compression and hooks to ask for at every answer, and that costs as much as all the
rest of a get.  What an API server answers is known when it is answered.
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

from cove.server.uids import new_uid

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from aiohttp.abc import AbstractStreamWriter

    from cove.server.request import Response

__all__ = ["Answer", "Streamed"]

# What nothing in a header may be (RFC 9110, 5.5): it would begin another one.
_BREAKS = ("\r", "\n", "\0")
# Bodies above LARGE bytes are written PIECE by PIECE: TLS copies what it is given, and small copies
# stay in the cache.
LARGE = 256 * 1024
PIECE = 64 * 1024


class _Ours(web.StreamResponse):
    """What both have in common: the head, and what becomes of the connection."""

    def __init__(self, response: Response, *, close: bool) -> None:
        super().__init__(status=response.status)
        self._end = close
        self._first = _first(response.status, response.content_type)
        self._others = _lines(response.headers) if response.headers else ""
        self._asked: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open: None until it is known, which is when it is written."""
        if self._asked is None:
            return None
        return not self._end and self._asked.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Note what is answered."""
        self._asked = request
        return None

    def _head(self, length: str) -> bytes:
        """The head, ``length`` being the header that says where the body ends, or ""."""
        request = self._asked
        assert request is not None
        old = request.version < HttpVersion11
        if not self.keep_alive:
            connection = "" if old else "\r\nConnection: close"
        else:
            connection = "\r\nConnection: keep-alive" if old else ""
        return (
            f"HTTP/1.{0 if old else 1} {self._first[0]}\r\nAudit-Id: {new_uid()}{self._first[1]}"
            f"{self._others}\r\nDate: {_date(int(time()))}{length}{connection}\r\n\r\n"
        ).encode(errors="surrogateescape")

    def _transport(self) -> asyncio.Transport:
        """What is written to; raises ConnectionResetError when the client is gone."""
        transport = self._asked.transport if self._asked is not None else None
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        return transport


class Answer(_Ours):
    """Answers a request with all of ``response``, headers in the order of an API server.

    ``close`` ends the connection afterwards, whatever the client would like.  Raises ValueError when a
    header would break the head.
    """

    def __init__(self, response: Response, *, close: bool = False) -> None:
        super().__init__(response, close=close)
        self._content = response.body

    async def write_eof(self, data: bytes = b"") -> None:
        """Write it; raises ConnectionResetError when the client is gone."""
        request, status, content = self._asked, self.status, self._content
        assert request is not None
        assert not data
        transport = self._transport()
        # The head of what a GET would have, and no more (RFC 9110, 8.6 and 9.3.2).
        silent = request.method == "HEAD" or status in (204, 304)
        head = self._head("" if silent and not content else f"\r\nContent-Length: {len(content)}")
        if silent:
            transport.write(head)
        elif len(content) <= LARGE:
            transport.write(head + content)
        else:
            transport.write(head)
            view = memoryview(content)
            for start in range(0, len(view), PIECE):
                self._transport().write(view[start : start + PIECE])
                await request.writer.drain()
        await request.writer.drain()


class Streamed(_Ours):
    """Answers with what comes, as it comes: :meth:`prepare`, :meth:`write` each piece, :meth:`write_eof`.

    HTTP/1.1 gets chunks; before it the end of the connection is the end of the answer.  All of them raise
    ConnectionResetError when the client is gone.
    """

    def __init__(self, response: Response, request: web.BaseRequest) -> None:
        self._chunks = request.version >= HttpVersion11
        self._silent = request.method == "HEAD"
        self._open = False
        self._over = False
        super().__init__(response, close=not self._chunks)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the head, once."""
        await super().prepare(request)
        if not self._open:
            self._open = True
            how = "\r\nTransfer-Encoding: chunked" if self._chunks else ""
            self._transport().write(self._head(how))
        return None

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece, and wait while the client does not read."""
        request = self._asked
        assert request is not None
        if data and not self._silent:
            self._transport().write(
                b"".join((b"%x\r\n" % len(data), data, b"\r\n")) if self._chunks else data
            )
        await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Say that this was all, once."""
        assert not data
        if not self._over:
            self._over = True
            if self._chunks and not self._silent:
                self._transport().write(b"0\r\n\r\n")


@lru_cache(maxsize=256)
def _first(status: int, content_type: str) -> tuple[str, str]:
    """What follows the version, and what follows the audit ID."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    headers = [("Cache-Control", "no-cache, private")]
    if content_type:
        headers.append(("Content-Type", content_type))
    return f"{status} {reason}", _lines(headers)


def _lines(headers: Sequence[tuple[str, str]]) -> str:
    text = "".join([f"\r\n{name}: {value}" for name, value in headers])
    if text.count("\r") + text.count("\n") != 2 * len(headers) or "\0" in text:
        bad = next(n for n, v in headers if any(c in n or c in v for c in _BREAKS))
        raise ValueError(f"the header {bad!r} has a line break or a NUL in it")
    return text


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    """``Sun, 06 Nov 1994 08:49:37 GMT``."""
    return formatdate(second, usegmt=True)
