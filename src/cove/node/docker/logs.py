"""Logs as the engine frames them, and what a client asked of them.

Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
(stream format)
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from cove.kube.podoptions import LogOptions

__all__ = ["frames", "limited", "parameters"]

_HEADER = struct.Struct(">BxxxL")


async def frames(content: aiohttp.StreamReader, tty: bool) -> AsyncIterator[bytes]:
    """What was written, stdout and stderr as they came; a terminal's is not framed."""
    if tty:
        async for piece in content.iter_any():
            yield piece
        return
    while True:
        try:
            _, size = _HEADER.unpack(await content.readexactly(_HEADER.size))
            yield await content.readexactly(size)
        except asyncio.IncompleteReadError:
            return


def parameters(options: LogOptions) -> dict[str, Any]:
    """The engine's query for a client's options; ``limitBytes`` it does not know."""
    params: dict[str, Any] = {"stdout": "true", "stderr": "true"}
    if options.follow:
        params["follow"] = "true"
    if options.timestamps:
        params["timestamps"] = "true"
    if options.tail_lines is not None:
        params["tail"] = str(options.tail_lines)
    if options.since is not None:
        params["since"] = f"{options.since.timestamp():.9f}"
    return params


async def limited(pieces: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    """At most ``limit`` bytes; None is all."""
    left = limit
    async for piece in pieces:
        if left is None:
            yield piece
            continue
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return
