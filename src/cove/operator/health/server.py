"""HealthServer: where probes ask for an operator's health, and Prometheus for its numbers.

The paths and answers are kube-apiserver's: ``/readyz`` is ``ok`` or 500, ``?verbose`` tells of
every check, ``?exclude=NAME`` leaves one out, ``/readyz/NAME`` asks for one.

Source: https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self

from cove.operator.errors import EntityError
from cove.operator.health.checks import Health, Report
from cove.operator.settings import Settings

if TYPE_CHECKING:
    from aiohttp import web

    from cove.operator.metrics import Metrics

__all__ = ["HealthServer", "serving"]

# Seconds that requests have to end.
GOODBYE = 1.0
PLAIN = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class HealthServer:
    """Serves health, metrics or both over HTTP while it is entered.

    ``port`` 0 is one that is free; :attr:`port` tells which.  The paths are those of
    ``settings``, and always ``/healthz``, ``/health``, ``/readyz``, ``/ready``.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Health | None = None,
        metrics: Metrics | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._health = health
        self._metrics = metrics
        self._settings = settings or Settings()
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        from aiohttp import web

        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=GOODBYE)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            site = web.TCPSite(runner, self.host, self.port)
            try:
                await site.start()
            except OSError as e:
                raise EntityError(
                    f"health and metrics cannot be served at {self.host}:{self.port}: {e.strerror}: "
                    "choose other ports in Settings, 0 serves nothing"
                ) from e
            self.port = runner.addresses[0][1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _app(self) -> web.Application:
        from aiohttp import web

        app = web.Application()
        health, settings = self._health, self._settings
        if health is not None:
            for word, ask, paths in (
                ("healthz", health.live, (settings.health_path, "/healthz", "/health")),
                ("readyz", health.ready, (settings.ready_path, "/readyz", "/ready")),
            ):
                for path in dict.fromkeys(paths):
                    app.router.add_get(path, _all(word, ask))
                    app.router.add_get(f"{path.rstrip('/')}/{{check}}", _one(ask))
        if self._metrics is not None:
            app.router.add_get(settings.metrics_path, self._numbers)
        return app

    async def _numbers(self, request: web.Request) -> web.Response:
        from aiohttp import web

        assert self._metrics is not None
        body, content_type = self._metrics.render(request.headers.get("Accept", ""))
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response


Ask = Callable[..., Awaitable[Report]]
Handler = Callable[["web.Request"], Awaitable["web.Response"]]


def _all(word: str, ask: Ask) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        from aiohttp import web

        exclude = request.query.getall("exclude", [])
        report = await ask(exclude=exclude)
        if report.good and "verbose" not in request.query:
            return web.Response(text="ok", headers=PLAIN)
        lines = [
            f"[-]{name} failed: reason withheld" if reason else f"[+]{name} ok"
            for name, reason in report.results
        ]
        lines += [f"[+]{name} excluded: ok" for name in exclude]
        lines.append(f"{word} check {'passed' if report.good else 'failed'}\n")
        return web.Response(
            text="\n".join(lines), status=200 if report.good else 500, headers=PLAIN
        )

    return answer


def _one(ask: Ask) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        from aiohttp import web

        name = request.match_info["check"]
        report = await ask(only=name)
        reason = report.of(name)
        if reason is None:
            return web.Response(text=f"there is no check {name}\n", status=404, headers=PLAIN)
        if reason:
            text = f"internal server error: {reason}\n"
            return web.Response(text=text, status=500, headers=PLAIN)
        return web.Response(text="ok", headers=PLAIN)

    return answer


@asynccontextmanager
async def serving(
    settings: Settings, health: Health | None = None, metrics: Metrics | None = None
) -> AsyncIterator[list[HealthServer]]:
    """The servers that the settings ask for: none, one for both, or two."""
    ports: dict[int, dict[str, object]] = {}
    if settings.health_port and health is not None:
        ports.setdefault(settings.health_port, {})["health"] = health
    if settings.metrics_port and metrics is not None:
        ports.setdefault(settings.metrics_port, {})["metrics"] = metrics
    async with AsyncExitStack() as stack:
        servers = []
        for port, what in ports.items():
            made = HealthServer(
                settings.host,
                port,
                health=health if "health" in what else None,
                metrics=metrics if "metrics" in what else None,
                settings=settings,
            )
            servers.append(await stack.enter_async_context(made))
        yield servers
