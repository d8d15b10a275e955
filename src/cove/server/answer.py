"""Answer: a whole HTTP answer, its head and body written as one.

aiohttp's own response has cookies, compression, chunks and hooks to ask for at every answer, and that costs as much as
all the rest of a get.  What an API server answers is known when it is answered.
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING

from aiohttp import HttpVersion10, web

from cove.server.uids import new_uid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import AbstractStreamWriter

    from cove.server.request import Response

__all__ = ["Answer", "common_headers"]

Headers = list[tuple[str, str]]

# What nothing in a header may be (RFC 9110, 5.5): it would begin another one.
_BREAKS = ("\r", "\n", "\0")


def common_headers(response: Response) -> Headers:
    """The headers of any answer, for one that is sent in another way."""
    headers = [("Audit-Id", new_uid()), ("Cache-Control", "no-cache, private")]
    if response.content_type:
        headers.append(("Content-Type", response.content_type))
    headers += response.headers
    return headers


class Answer(web.StreamResponse):
    """Answers a request with all of ``response`` at once, in the order of headers of an API server.

    ``close`` ends the connection afterwards, whatever the client would like.  Raises ValueError when a
    header would break the head.
    """

    def __init__(self, response: Response, *, close: bool = False) -> None:
        super().__init__(status=response.status)
        self._content = response.body
        self._close = close
        self._first = _first(response.status, response.content_type)
        self._others = _lines(response.headers) if response.headers else ""
        self._asked: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open: None until it is known, which is when it is written."""
        if self._asked is None:
            return None
        return not self._close and self._asked.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Note what is answered; nothing is written before the end is known."""
        self._asked = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write it; raises ConnectionResetError when the client is gone."""
        request, status, content = self._asked, self.status, self._content
        assert request is not None
        assert not data
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        old = request.version == HttpVersion10
        # The head of what a GET would have, and no more (RFC 9110, 8.6 and 9.3.2).
        silent = request.method == "HEAD" or status in (204, 304)
        length = "" if silent and not content else f"\r\nContent-Length: {len(content)}"
        if not self.keep_alive:
            connection = "" if old else "\r\nConnection: close"
        else:
            connection = "\r\nConnection: keep-alive" if old else ""
        head = (
            f"HTTP/1.{0 if old else 1} {self._first[0]}\r\nAudit-Id: {new_uid()}{self._first[1]}"
            f"{self._others}\r\nDate: {_date(int(time()))}{length}{connection}\r\n\r\n"
        ).encode(errors="surrogateescape")
        transport.write(head if silent else head + content)
        await request.writer.drain()


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
