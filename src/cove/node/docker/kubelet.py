"""DockerKubelet: what the API server asks of the nodes, for a driver's pods.

It has the shape of :class:`cove.server.kubelet.Kubelet`, which it does not import: nodes
know the client, not the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from aiodocker.execs import Exec
from aiodocker.stream import Stream

from cove.client import Clock
from cove.kube import status as st
from cove.kube.podoptions import ExecOptions, LogOptions, Usage
from cove.kube.status import StatusError
from cove.kube.times import parse_time
from cove.node.docker import inside
from cove.node.docker import labels as marks
from cove.node.docker.connection import DockerError, Engine, EngineDownError
from cove.node.docker.driver import DockerDriver
from cove.node.docker.logs import frames, limited, parameters

__all__ = ["DockerCommand", "DockerKubelet"]

Doc = Mapping[str, Any]

# A window of usage is at least this long, in seconds, and no longer than that.
SHORTEST, LONGEST = 1.0, 60.0


class DockerCommand:
    """A command in a container, or the container itself."""

    def __init__(self, engine: Engine, stream: Stream, made: Exec | None, id: str) -> None:
        self._engine = engine
        self._stream = stream
        self._exec = made
        self._id = id

    async def read(self) -> tuple[int, bytes] | None:
        """(1 stdout or 2 stderr, bytes); None at the end."""
        try:
            message = await self._stream.read_out()
        except (OSError, DockerError):
            return None
        return None if message is None else (message.stream, message.data)

    async def write(self, data: bytes) -> None:
        """Input; dropped once the command is gone."""
        try:
            await self._stream.write_in(data)
        except (OSError, RuntimeError, AssertionError):
            pass

    async def end_input(self) -> None:
        """Close its input, and keep reading."""
        response = self._stream._resp
        connection = None if response is None else response.connection
        transport = None if connection is None else connection.transport
        if transport is not None and transport.can_write_eof():
            transport.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """The size of its terminal."""
        try:
            if self._exec is not None:
                await self._exec.resize(h=rows, w=columns)
            else:
                await self._engine.docker.containers.container(self._id).resize(h=rows, w=columns)
        except DockerError:
            pass  # it has ended, or not begun

    async def wait(self) -> int:
        """The exit code."""
        if self._exec is None:
            return 0
        # The stream ends a moment before the engine knows the exit code.
        for _ in range(100):
            inspected = await self._exec.inspect()
            if not inspected.get("Running"):
                break
            await asyncio.sleep(0.01)
        return int(inspected.get("ExitCode") or 0)

    async def aclose(self) -> None:
        """Let go of the streams."""
        await self._stream.close()


class DockerKubelet:
    """All nodes of a cluster as one; ``nodes`` are the names of those that run containers."""

    def __init__(
        self, driver: DockerDriver, nodes: Callable[[], Sequence[str]], clock: Clock
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._nodes = nodes
        self._clock = clock
        # Container id → (monotonic, nanoseconds of CPU) of an earlier sample.
        self._samples: dict[str, tuple[float, int]] = {}

    def runs(self, pod: Doc) -> bool:
        """Whether its node runs containers."""
        return pod["spec"].get("nodeName") in self._nodes()

    # -- which container

    async def _attempts(self, pod: Doc, container: str) -> list[Doc]:
        """A container's attempts in the engine, newest first."""
        labels = {marks.POD_UID: pod["metadata"]["uid"], marks.CONTAINER: container}
        try:
            found = await self._engine.containers(labels)
        except EngineDownError as e:
            raise _down(e) from e
        return sorted(found, key=lambda e: -int(e["Labels"].get(marks.ATTEMPT, "0")))

    def _waiting(self, pod: Doc, container: str) -> str:
        status = pod.get("status") or {}
        kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        for known in (s for kind in kinds for s in status.get(kind) or ()):
            if known["name"] == container:
                waiting = (known.get("state") or {}).get("waiting") or {}
                return str(waiting.get("reason") or "ContainerCreating")
        return "ContainerCreating"

    async def _running(self, pod: Doc, container: str) -> str:
        """The id of a container that runs; raises StatusError."""
        for entry in await self._attempts(pod, container):
            if entry.get("State") == "running":
                return str(entry["Id"])
        phase = (pod.get("status") or {}).get("phase", "")
        if phase in ("Succeeded", "Failed"):
            raise st.bad_request(
                f"cannot exec into a container in a completed pod; current phase is {phase}"
            )
        raise st.internal_error(
            f'unable to upgrade connection: container not found ("{container}")'
        )

    # -- logs

    async def logs(self, pod: Doc, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """What it has written; raises StatusError before the first piece."""
        attempts = await self._attempts(pod, container)
        name = pod["metadata"]["name"]
        if options.previous:
            if len(attempts) < 2:
                raise st.bad_request(
                    f'previous terminated container "{container}" in pod "{name}" not found'
                )
            entry = attempts[1]
        elif not attempts or attempts[0].get("State") == "created":
            if len(attempts) > 1:
                entry = attempts[1]
            else:
                raise st.bad_request(
                    f'container "{container}" in pod "{name}" is waiting to start: '
                    f"{self._waiting(pod, container)}"
                )
        else:
            entry = attempts[0]
        inspected = await self._engine.inspect(entry["Id"])
        tty = bool((inspected or {}).get("Config", {}).get("Tty"))
        try:
            async with self._engine.log(entry["Id"], parameters(options)) as content:
                async for piece in limited(frames(content, tty), options.limit_bytes):
                    yield piece
        except EngineDownError as e:
            raise _down(e) from e
        except DockerError as e:
            raise st.internal_error(str(e)) from e

    # -- commands

    async def run(self, pod: Doc, container: str, options: ExecOptions) -> DockerCommand:
        """A command, or with none the container's own process."""
        id = await self._running(pod, container)
        try:
            if not options.command:
                stream = await self._engine.attach(
                    id, stdin=options.stdin, stdout=options.stdout, stderr=options.stderr
                )
                return DockerCommand(self._engine, stream, None, id)
            made, stream = await self._engine.exec(
                id,
                options.command,
                stdin=options.stdin,
                tty=options.tty,
                stdout=options.stdout,
                stderr=options.stderr and not options.tty,
            )
        except EngineDownError as e:
            raise _down(e) from e
        except DockerError as e:
            raise st.internal_error(f"error executing command in container: {e}") from e
        return DockerCommand(self._engine, stream, made, id)

    async def connect(
        self, pod: Doc, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to one of its ports, on its loopback where that can be reached."""
        uid = pod["metadata"]["uid"]
        worker = self._driver.worker(uid)
        if worker is None or not worker.sandbox or worker.done:
            name = pod["metadata"]["name"]
            phase = (pod.get("status") or {}).get("phase", "Pending")
            raise st.bad_request(
                f"unable to forward port because pod {name} is not running. Current status={phase}"
            )
        if pod["spec"].get("hostNetwork"):
            return await asyncio.open_connection("127.0.0.1", port)
        inspected = await self._engine.inspect(worker.sandbox)
        pid = int(((inspected or {}).get("State") or {}).get("Pid") or 0)
        try:
            return await inside.connect(pid, port)
        except (PermissionError, FileNotFoundError):
            # Not root, or the engine is on another machine: only what listens on the
            # pod's address is reached.
            return await asyncio.open_connection(worker.address, port)

    # -- usage

    async def usage(self, pods: Sequence[Doc]) -> Mapping[str, Mapping[str, Usage]]:
        """Pod uid → container → what it uses."""
        wanted = {p["metadata"]["uid"] for p in pods}
        labels = {marks.CLUSTER: self._driver.cluster_label, marks.POD_UID: ""}
        try:
            listed = await self._engine.containers(labels)
        except EngineDownError:
            return {}
        running = [
            e
            for e in listed
            if e.get("State") == "running"
            and e["Labels"][marks.POD_UID] in wanted
            and e["Labels"].get(marks.CONTAINER) != marks.SANDBOX
        ]
        self._samples = {
            k: v for k, v in self._samples.items() if any(e["Id"] == k for e in listed)
        }
        used = await asyncio.gather(*(self._sample(e["Id"]) for e in running))
        found: dict[str, dict[str, Usage]] = {}
        for entry, one in zip(running, used, strict=True):
            if one is not None:
                of_pod = found.setdefault(entry["Labels"][marks.POD_UID], {})
                of_pod[entry["Labels"][marks.CONTAINER]] = one
        return found

    async def _sample(self, id: str) -> Usage | None:
        """Usage since the last sample; the first one waits a moment for a second."""
        stats = await self._engine.stats(id)
        if stats is None:
            return None
        now, cpu = self._clock.monotonic(), _cpu(stats)
        before = self._samples.get(id)
        if before is None or not SHORTEST <= now - before[0] <= LONGEST:
            before = (now, cpu)
            await self._clock.sleep(SHORTEST)
            stats = await self._engine.stats(id)
            if stats is None:
                return None
            now, cpu = self._clock.monotonic(), _cpu(stats)
        self._samples[id] = (now, cpu)
        window = max(now - before[0], 1e-3)
        memory = stats.get("memory_stats") or {}
        details = memory.get("stats") or {}
        # The working set: what could not be dropped at once.
        idle = details.get("inactive_file", details.get("total_inactive_file", 0))
        text = stats.get("read")
        return Usage(
            time=parse_time(text) if text else self._clock.now(),
            window=window,
            cpu=max(0, int((cpu - before[1]) / window)),
            memory=max(0, int(memory.get("usage") or 0) - int(idle)),
        )

    async def node_usage(self) -> Mapping[str, Usage]:
        """Node → what its pods use together; the machine's own work is not any node's."""
        by_node: dict[str, list[Doc]] = {name: [] for name in self._nodes()}
        for worker in self._driver.workers:
            by_node.setdefault(worker.pod["spec"].get("nodeName", ""), []).append(worker.pod)
        pods = [pod for listed in by_node.values() for pod in listed]
        usage = await self.usage(pods)
        found: dict[str, Usage] = {}
        for node, listed in by_node.items():
            parts = [u for p in listed for u in usage.get(p["metadata"]["uid"], {}).values()]
            found[node] = Usage(
                time=max((u.time for u in parts), default=self._clock.now()),
                window=max((u.window for u in parts), default=SHORTEST),
                cpu=sum(u.cpu for u in parts),
                memory=sum(u.memory for u in parts),
            )
        return found


def _cpu(stats: Doc) -> int:
    return int(((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0)


def _down(error: EngineDownError) -> StatusError:
    return StatusError(503, "ServiceUnavailable", str(error))
