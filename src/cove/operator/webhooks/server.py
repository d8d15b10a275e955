"""The HTTPS server that API servers ask.

It knows paths and bytes; what a review means is its routes' business.  New connections get the
newest certificate, connections that are open keep theirs.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec

from cove.operator.webhooks.errors import WebhookError
from cove.operator.webhooks.review import BadReviewError
from cove.pki import Pair, serving_context, use_pair

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["LIMIT", "Answering", "Served", "WebhookServer"]

log = logging.getLogger("cove.operator.webhooks")

Answering = Callable[[bytes], Awaitable[bytes]]
# Told of every request: its path, the code of the answer, the seconds it took.
Served = Callable[[str, int, float], None]

# The longest review taken, in bytes.  An API server takes objects of 3 MiB; an update shows two.
LIMIT = 16 * 1024 * 1024
# Reviews of conversions are about whole lists.
CONVERSION_LIMIT = 128 * 1024 * 1024
# Seconds for an answer where nobody says; an API server waits for 30 at most.
TIMEOUT = 30.0
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class WebhookServer:
    """``async with WebhookServer({"/path": answer}, pair=…) as server``: it listens.

    ``port`` 0 takes a free one; :attr:`port` is which.  Leaving it, requests that are being
    answered have ``grace`` seconds.  Raises WebhookError for a port that it cannot have.
    """

    def __init__(
        self,
        routes: Mapping[str, Answering],
        pair: Pair,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        grace: float = 30.0,
        served: Served | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._routes = dict(routes)
        self._context = serving_context(pair)
        self._grace = grace
        self._served = served
        self._runner: web.AppRunner | None = None

    def use(self, pair: Pair) -> None:
        """Show this certificate to those who connect from now on."""
        use_pair(self._context, pair)

    @contextmanager
    def route(self, path: str, answer: Answering) -> Iterator[None]:
        """Answer a path, too, for a while."""
        self._routes[path] = answer
        try:
            yield
        finally:
            del self._routes[path]

    async def __aenter__(self) -> Self:
        from aiohttp import web

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=self._grace, handler_cancellation=True
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port, ssl_context=self._context)
            await site.start()
        except OSError as e:
            await runner.cleanup()
            raise WebhookError(
                f"webhooks cannot listen at {self.host}:{self.port}: {e.strerror or e}; "
                "choose another port, 0 takes a free one"
            ) from e
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = int(runner.addresses[0][1])
        return self

    async def __aexit__(self, *exc: object) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        started = time.perf_counter()
        code = 500
        try:
            response = await self._answer(request)
            code = response.status
            return response
        finally:
            if self._served is not None:
                known = request.path in self._routes
                self._served(request.path if known else "", code, time.perf_counter() - started)

    async def _answer(self, request: web.Request) -> web.Response:
        from aiohttp import web

        answer = self._routes.get(request.path)
        if answer is None:
            return _failure(404, "NotFound", f"no webhook is at {request.path}")
        if request.method != "POST":
            return _failure(405, "MethodNotAllowed", f"{request.method}: reviews are posted")
        if request.content_type != "application/json":
            said = request.headers.get("Content-Type") or "nothing"
            why = f"Content-Type: expected application/json, got {said}"
            return _failure(415, "UnsupportedMediaType", why)
        limit = CONVERSION_LIMIT if request.path.startswith("/convert/") else LIMIT
        seconds = _timeout(request.query.get("timeout", ""))
        try:
            async with asyncio.timeout(seconds):
                body = await _body(request, limit)
                if body is None:
                    why = f"the review is longer than {limit} bytes"
                    return _failure(413, "RequestEntityTooLarge", why)
                data = await answer(body)
        except BadReviewError as e:
            log.warning("%s: a bad request: %s", request.path, e)
            return _failure(400, "BadRequest", str(e))
        except TimeoutError:
            log.warning("%s: no answer within %g s", request.path, seconds)
            why = f"{request.path} did not answer within {seconds:g} s"
            return _failure(504, "Timeout", why)
        except Exception as e:
            # Whatever a handler raises by mistake ends here; failurePolicy decides what it means.
            log.exception("%s failed", request.path)
            text = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
            return _failure(500, "InternalError", f"{request.path}: {text}")
        return web.Response(body=data, content_type="application/json")


async def _body(request: web.Request, limit: int) -> bytes | None:
    """The body, None for one that is too long."""
    if (request.content_length or 0) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _timeout(text: str) -> float:
    """Go's way of writing seconds: ``10s``."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        return TIMEOUT
    return min(float(match[1]) * _UNITS[match[2] or "s"], TIMEOUT) or TIMEOUT


def _failure(code: int, reason: str, message: str) -> web.Response:
    from aiohttp import web

    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.Response(
        status=code, body=msgspec.json.encode(status), content_type="application/json"
    )
