"""Control: how other commands reach an application that runs, over a socket of its user.

``GET /status``, ``GET /wait``, ``GET /logs`` (a line of JSON each), ``POST
/resources/NAME/start|stop|restart`` and ``POST /down``.  The socket is in a folder that
its user alone may enter.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

from aiohttp import web

from cove.host.board import BlockedError, UnknownResourceError, WaitTimeoutError
from cove.host.states import Want
from cove.kube.status import CoveError

if TYPE_CHECKING:
    from cove.host.host import Host

__all__ = ["ControlServer"]

_CODES = ((UnknownResourceError, 404), (WaitTimeoutError, 504), (BlockedError, 409))


class ControlServer:
    """Serves one host; entered it listens at :attr:`socket`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stack = AsyncExitStack()
        self.socket = Path()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            # Paths of sockets are at most some hundred characters: not below COVE_HOME.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cove-"))
            self.socket = Path(folder) / "control"
            app = web.Application()
            app.add_routes(
                [
                    web.get("/status", self._told(self._status)),
                    web.get("/wait", self._told(self._wait)),
                    web.get("/logs", self._logs),
                    web.post("/resources/{name}/{verb:start|stop|restart}", self._told(self._verb)),
                    web.post("/down", self._told(self._down)),
                ]
            )
            runner = web.AppRunner(
                app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.UnixSite(runner, str(self.socket)).start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @staticmethod
    def _told(
        handler: Callable[[web.Request], Awaitable[Any]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Answers in JSON, and errors by what a caller does about them."""

        async def answer(request: web.Request) -> web.Response:
            try:
                return web.json_response(await handler(request))
            except (CoveError, ValueError) as e:
                chain = [s.to_dict() for s in getattr(e, "chain", ())]
                status = next((code for kind, code in _CODES if isinstance(e, kind)), 400)
                return web.json_response({"error": str(e), "chain": chain}, status=status)

        return answer

    async def _status(self, request: web.Request) -> Any:
        host = self._host
        return {
            "app": host.app.name,
            "resources": [status.to_dict() for status in host.board],
        }

    async def _wait(self, request: web.Request) -> Any:
        query = request.query
        want = query.get("status", "healthy")
        if want not in get_args(Want):
            raise ValueError(f'"{want}" cannot be waited for: healthy or completed can')
        timeout = float(query["timeout"]) if "timeout" in query else None
        name = query.get("name")
        if name is None:
            await self._host.ready(timeout)
            return {}
        return (await self._host.wait(name, want, timeout)).to_dict()  # type: ignore[arg-type]

    async def _verb(self, request: web.Request) -> Any:
        name = request.match_info["name"]
        await getattr(self._host, request.match_info["verb"])(name)
        return self._host.board[name].to_dict()

    async def _down(self, request: web.Request) -> Any:
        if request.query.get("all"):
            self._host.discard()
        self._host.down.set()
        return {}

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        host = self._host
        names = query.getall("name", list(host.app.resources))
        unknown = [name for name in names if name not in host.app.resources]
        if unknown:
            error = UnknownResourceError(unknown[0], host.app.resources)
            return web.json_response({"error": str(error)}, status=404)
        tail = int(query["tail"]) if "tail" in query else None
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async with host.logs.follow(names, tail) as lines:
            async for line in lines:
                doc = {"time": line.time.isoformat(), "name": line.name, "text": line.text}
                await response.write(json.dumps(doc).encode() + b"\n")
        return response
