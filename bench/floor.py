"""The floor: an aiohttp TLS handler that reads the body and answers 400 bytes.

``python -m bench.floor FD FOLDER`` writes its port to the descriptor and its authority's
certificate to FOLDER/ca.crt.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web

from cove.pki import server_context
from cove.pki.authority import Authority

ANSWER = b"x" * 400


async def handle(request: web.BaseRequest) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def serve(ready: int, folder: Path) -> None:
    authority = Authority.new()
    (folder / "ca.crt").write_bytes(authority.certificate)
    context = server_context(authority.certificate, authority.server(["127.0.0.1"]))
    server = web.Server(handle, access_log=None)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(server, "127.0.0.1", 0, ssl=context)
    os.write(ready, str(listener.sockets[0].getsockname()[1]).encode())
    os.close(ready)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
