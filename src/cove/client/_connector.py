"""The connector of aiohttp whose connections end when they are let go of.

Loaded with the first connection: aiohttp is not imported before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey

__all__ = ["Connector"]


class Connector(aiohttp.TCPConnector):
    """Connections that will not be used again are cut, not closed.

    Closing says goodbye in TLS and waits for the server to do so too, and nobody awaits
    that: a loop that ends meanwhile, as ``asyncio.run`` does after its last watch, leaves
    the socket open.  What is let go of here is a stream or a request that was given up:
    nothing of it is still wanted.
    """

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        # aiohttp has no public place for it; tests/client/test_connections.py notices if
        # this one moves.
        if should_close or protocol.should_close:
            protocol.abort()
            should_close = True
        super()._release(key, protocol, should_close=should_close)
