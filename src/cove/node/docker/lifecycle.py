"""Hooks and probes of the containers of one pod, and how a container is ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cove.node.docker.connection import DockerError, EngineDownError
from cove.node.docker.containers import Container
from cove.node.pods.probes import Outcome, Prober, check, http_request

if TYPE_CHECKING:
    from cove.node.docker.worker import PodWorker

__all__ = ["Lifecycle"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]
HOOK_LIMIT = 10 * 1024
# However short the grace has become, a container is asked before it is killed.
LEAST = 2.0


class Lifecycle:
    """What happens around a container that runs."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker

    # -- hooks

    async def post_start(self, container: Container) -> bool:
        """Run the postStart hook; a container whose hook fails is killed: False."""
        handler = (self._spec(container).get("lifecycle") or {}).get("postStart")
        if not handler:
            return True
        problem = await self._hook(container, handler)
        if not problem:
            return True
        worker = self._worker
        worker.event("Warning", "FailedPostStartHook", problem, container.name)
        grace = float(worker.pod["spec"].get("terminationGracePeriodSeconds") or 0)
        await worker.kill(container, "FailedPostStartHook", grace)
        return False

    async def _hook(self, container: Container, handler: Doc) -> str:
        """ "" or why it failed."""
        try:
            if handler.get("exec"):
                command = handler["exec"].get("command") or ()
                code, output = await self._worker.driver.run(container.id, command)
                if code:
                    return (
                        f"PostStartHook failed: command '{' '.join(command)}' exited with {code}: "
                        f"{output[:HOOK_LIMIT]}"
                    )
            elif handler.get("httpGet"):
                await http_request(
                    handler["httpGet"],
                    self._spec(container),
                    self._worker.reachable,
                    30.0,
                    "kube-lifecycle/1.36",
                )
            elif handler.get("sleep"):
                await self._worker.clock.sleep(float(handler["sleep"].get("seconds") or 0))
        except (DockerError, OSError, ValueError, TimeoutError) as e:
            return str(e) or type(e).__name__
        return ""

    async def end(self, container: Container, grace: float, now: asyncio.Event) -> None:
        """Run preStop, ask the container to end, and kill it when its time is over.

        ``now`` cuts the waiting short.
        """
        worker = self._worker
        begun = worker.clock.monotonic()
        handler = (self._spec(container).get("lifecycle") or {}).get("preStop")
        if handler and grace > 0:
            await self._within(self._pre_stop(container, handler), grace, now)
        left = grace - (worker.clock.monotonic() - begun)
        if grace > 0 and not now.is_set():
            signal = (self._spec(container).get("lifecycle") or {}).get("stopSignal")
            signal = signal or await worker.driver.stop_signal(container.id)
            await worker.engine.kill(container.id, signal)
            await self._within(worker.driver.wait(container.id), max(left, LEAST), now)
        await worker.engine.kill(container.id)
        await worker.driver.wait(container.id)

    async def _pre_stop(self, container: Container, handler: Doc) -> None:
        problem = await self._hook(container, handler)
        if problem:
            self._worker.event("Warning", "FailedPreStopHook", problem, container.name)

    async def _within(self, work: Any, seconds: float, now: asyncio.Event) -> None:
        """Await ``work`` for so long at most."""
        clock = self._worker.clock
        tasks = [
            asyncio.ensure_future(work),
            asyncio.ensure_future(clock.sleep(seconds)),
            asyncio.ensure_future(now.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks[1:]:
                task.cancel()
            if not tasks[0].done():
                tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(results[0], EngineDownError):
            raise results[0]

    # -- probes

    def watch(self, container: Container) -> None:
        """Start the probes of a container that has begun to run."""
        spec = self._spec(container)
        container.started = None
        if spec.get("startupProbe"):
            container.started, container.ready = False, False
            container.probes.start(f"startup probe of {container.name}", self._startup(container))
        else:
            self._watch_started(container)

    def _watch_started(self, container: Container) -> None:
        spec = self._spec(container)
        container.ready = not spec.get("readinessProbe")
        if spec.get("readinessProbe"):
            self._probe(container, "Readiness", spec["readinessProbe"], initial=False)
        if spec.get("livenessProbe"):
            self._probe(container, "Liveness", spec["livenessProbe"], initial=True)

    async def _startup(self, container: Container) -> None:
        spec = self._spec(container)
        passed = asyncio.Event()

        def changed(ok: bool, text: str) -> None:
            if ok:
                passed.set()
            else:
                self._failed(container, "startup", spec["startupProbe"])

        await self._prober(container, "Startup", spec["startupProbe"], False, changed).run(
            once=True
        )
        if passed.is_set():
            container.started = True
            self._watch_started(container)
            self._worker.wake()

    def _probe(self, container: Container, kind: str, probe: Doc, *, initial: bool) -> None:
        def changed(ok: bool, text: str) -> None:
            if kind == "Readiness":
                container.ready = ok
                self._worker.tell()
            elif not ok:
                self._failed(container, "liveness", probe)

        prober = self._prober(container, kind, probe, initial, changed)
        container.probes.start(f"{kind} probe of {container.name}", prober.run())

    def _prober(
        self, container: Container, kind: str, probe: Doc, initial: bool, changed: Any
    ) -> Prober:
        worker = self._worker

        async def run(command: Sequence[str], timeout: float) -> tuple[int, str]:
            async with asyncio.timeout(timeout):
                return await worker.driver.run(container.id, command)

        async def attempt() -> Outcome:
            try:
                return await check(probe, self._spec(container), worker.reachable, run)
            except (DockerError, EngineDownError) as e:
                return Outcome(False, str(e))

        def failed(text: str) -> None:
            worker.event("Warning", "Unhealthy", f"{kind} probe failed: {text}", container.name)

        return Prober(
            probe, attempt, clock=worker.clock, initial=initial, changed=changed, failed=failed
        )

    def _failed(self, container: Container, kind: str, probe: Doc) -> None:
        """A container that is not well is ended; its restart policy does the rest."""
        worker = self._worker
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is None:
            grace = worker.pod["spec"].get("terminationGracePeriodSeconds")
        why = f"Container {container.name} failed {kind} probe, will be restarted"
        worker.later(f"restart of {container.name}", worker.kill(container, why, float(grace or 0)))

    def _spec(self, container: Container) -> Doc:
        return self._worker.spec_of(container.name)
