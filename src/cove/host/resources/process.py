"""ProcessResource: a program on this machine."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args
from urllib.parse import urlsplit

from cove.host.engine import HOST
from cove.host.errors import AppError, ResourceError
from cove.host.graph import Need
from cove.host.health import Check, checked
from cove.host.references import UrlReference, environment, image_reference
from cove.host.resource import Resource
from cove.host.spawn import Program

if TYPE_CHECKING:
    from cove.host.app import App
    from cove.host.run import Run

__all__ = ["ProcessResource", "Referrer", "Restart", "watch_health"]

Restart = Literal["never", "on-failure", "always"]

# Seconds between checks: until the first that is well, from then on, and in trouble.
EAGER, CALM, WORRIED = 0.1, 5.0, 1.0
# How many checks in a row have to fail before who was well is Unhealthy.
PATIENCE = 3
# Seconds before the first restart, doubled each time, and at most.
BACKOFF, LONGEST_BACKOFF = 1.0, 30.0


class Referrer(Resource):
    """A resource that is given what it refers to."""

    def reference(self, *others: Resource | str) -> Self:
        """Give it what it needs to reach these; twice is the same as once.

        Clusters give ``KUBECONFIG``; endpoints, processes and containers with a URL
        ``services__NAME__url``, images ``images__NAME__reference``.  It starts when these values are known; to wait until they
        answer, say :meth:`wait_for`.
        """
        return self._need(others, Need.REFERENCE)


class ProcessResource(Referrer):
    """A program on this machine, with its output as log lines.

    ``command`` is a program, as the shell would find it, and its arguments; no shell is
    involved.  ``cwd`` None is the application's folder.  ``env``
    is added to the environment of cove, references are added to that.  ``port`` is where it
    serves HTTP: it is told so in the variable ``port_env``; 0 chooses a free one, None means
    that it serves nothing.  ``url`` says so instead for what knows its address itself.
    ``health`` is a check: a path on its URL, a URL (http, https, tcp), or an async function;
    None: it is well as long as it runs.  ``ready_within`` seconds after its start it must be
    well, else it is ended (None: for ever).  ``restart`` says whether it is started again
    when it ends; ``grace`` is how many seconds it has between SIGTERM and SIGKILL.

    ``watch`` are patterns of files, relative to ``cwd``: `cove dev run` starts it again when one
    changes.

    Its states: Finished with exit code 0, Exited with any other.
    """

    kind: ClassVar[str] = "process"
    completes: ClassVar[bool] = True

    def __init__(
        self,
        app: App,
        name: str,
        command: Sequence[str],
        *,
        cwd: str | Path | None,
        env: Mapping[str, str],
        port: int | None,
        port_env: str,
        url: str | None,
        health: Check | None,
        ready_within: float | None,
        restart: Restart,
        grace: float,
        watch: Sequence[str],
        explicit_start: bool,
    ) -> None:
        if isinstance(command, str) or not command or not str(command[0]).strip():
            raise AppError(
                f'the command of {name} is {command!r}: give a list, such as ["python", "-m", "api"]'
            )
        if port is not None and not 0 <= port <= 65535:
            raise AppError(f"port {port} of {name}: ports are 1–65535, 0 chooses a free one")
        if restart not in get_args(Restart):
            raise AppError(f'restart "{restart}" of {name}: it is {", ".join(get_args(Restart))}')
        self.command = [str(part) for part in command]
        self.cwd = app.root if cwd is None else app.path(cwd)
        self.env = dict(env)
        self.port, self.port_env, self.own_url = port, port_env, url
        self.health = health
        self.watch = tuple(watch)
        self.ready_within, self.restart, self.grace = ready_within, restart, grace
        # Whether the check is one; the port it is made on may be chosen later.
        checked(name, health, url or ("http://localhost" if port is not None else None))
        super().__init__(app, name, explicit_start=explicit_start)

    @property
    def properties(self) -> Mapping[str, str]:
        """The command."""
        return {"command": " ".join(self.command)}

    async def run(self, run: Run) -> int | None:
        """Run it, again and again if so declared; see Resource.run."""
        port = self.port
        if port == 0:
            port = _free_port()
        url = self.own_url or (f"http://localhost:{port}" if port is not None else "")
        async with AsyncExitStack() as stack:
            if url:
                inside = await self._for_containers(run, url, stack)
                run.provide(UrlReference(self.name, lambda: url, lambda: inside))
            return await self._again_and_again(run, url, port)

    async def _for_containers(self, run: Run, url: str, stack: AsyncExitStack) -> str:
        """Its URL as containers say it; one on loopback is carried to where they reach it."""
        parts = urlsplit(url)
        if not self.for_containers or parts.hostname not in ("localhost", "127.0.0.1"):
            return url
        from cove.engines.door import Relay

        target = ("127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80))
        relay = Relay(await run.host.engines.gateway(), target)
        port = (await stack.enter_async_context(relay)).port
        return parts._replace(netloc=f"{HOST}:{port}").geturl()

    async def _again_and_again(self, run: Run, url: str, port: int | None) -> int:
        check = checked(self.name, self.health, url)
        delay = BACKOFF
        while True:
            begun = run.clock.monotonic()
            code = await self._once(run, url, port, check)
            run.exit_code = code
            again = self.restart == "always" or (self.restart == "on-failure" and code != 0)
            if not again:
                if code:
                    raise ResourceError(_how(code))
                return code
            if run.clock.monotonic() - begun > LONGEST_BACKOFF:
                delay = BACKOFF
            await run.starting(f"{_how(code)}; it is started again in {delay:g} s")
            run.log(f"{_how(code)}: started again in {delay:g} s")
            await run.clock.sleep(delay)
            delay = min(2 * delay, LONGEST_BACKOFF)

    async def _once(self, run: Run, url: str, port: int | None, check: Check | None) -> int:
        if not self.cwd.is_dir():
            raise ResourceError(f"{self.cwd} is no folder: {self.name} was to be started in it")
        program = await Program.start(
            self.command, cwd=self.cwd, env=self._environment(run, port), line=run.log
        )
        try:
            await run.tell(pid=str(program.pid))
            if check is None:
                await run.running(url=url)
                return await program.wait()
            health = asyncio.create_task(
                watch_health(run, check, url, self.ready_within), name=f"health of {self.name}"
            )
            ended = asyncio.create_task(program.wait(), name=f"end of {self.name}")
            try:
                await asyncio.wait((health, ended), return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    code = ended.result()
                    if not code and not run.was_running:
                        raise ResourceError("it ended with exit code 0 before it was healthy")
                    return code
                health.result()
                raise AssertionError("a check of health has no end")
            finally:
                health.cancel()
                ended.cancel()
                await asyncio.gather(health, ended, return_exceptions=True)
        finally:
            run.exit_code = await program.stop(self.grace, run.hurry)

    def _environment(self, run: Run, port: int | None) -> dict[str, str]:
        """Cove's own environment, the declared one, then what it refers to."""
        own = {self.port_env: str(port)} if port is not None else {}
        parts: list[Mapping[str, str]] = [
            image_reference(name, str(self.app.resources[name].built))  # type: ignore[attr-defined]
            for name in self.references
            if self.app.resources[name].kind == "image"
        ]
        parts += [
            provider.for_process()
            for name in self.references
            if (provider := run.host.provided(name)) is not None
        ]
        # The later wins: a reference replaces a KUBECONFIG of the shell.
        return {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            **own,
            **self.env,
            **environment(parts),
            **run.host.session,
        }


async def watch_health(run: Run, check: Check, url: str, within: float | None) -> None:
    """Check again and again, and tell; raises ResourceError if it is not well in time."""
    limit = None if within is None else run.clock.monotonic() + within
    failed = 0
    well = False
    told = ""
    while True:
        reason = await run.host.prober.probe(check)
        if not reason:
            failed, well = 0, True
            await run.running(url=url)
        else:
            failed += 1
            if well and failed >= PATIENCE:
                await run.unhealthy(reason)
            elif not well:
                if reason != told:
                    await run.starting(reason)
                told = reason
                if limit is not None and run.clock.monotonic() >= limit:
                    raise ResourceError(f"it was not healthy within {within:g} s: {reason}")
        await run.clock.sleep(EAGER if not well else WORRIED if failed else CALM)


def _how(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
