"""DockerDriver: pods as containers of an engine that speaks Docker's API.

It owns a worker per pod, the network they are on, and the stream of the engine's events;
images and volumes are shared by all.  What an earlier process left behind is taken over
where its pod is still there, and removed where it is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from cove.client import Clock, Tasks
from cove.kube.status import CoveError
from cove.node.docker import labels as marks
from cove.node.docker.connection import DockerError, Engine, EngineDownError
from cove.node.docker.images import Images, itself
from cove.node.docker.worker import PodWorker
from cove.node.driver import Report, Runtime
from cove.node.pods.env import Around
from cove.node.pods.volumes import Volumes

__all__ = ["DockerDriver"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]
# Seconds between attempts to reach an engine that is gone.
AGAIN, AGAIN_LIMIT = 0.5, 15.0
OUTPUT = 64 * 1024

Event = Callable[[Doc, str, str, str, str], None]


class DockerDriver:
    """Runs pods; a :class:`~cove.node.driver.Driver`.

    ``cluster`` names what it makes, ``labels`` mark it; ``around`` and ``resolv_conf`` say
    what pods see of the cluster, ``host_of`` the address of a pod's node, ``secrets`` finds
    the credentials for its images, ``event`` records what happens.  ``health`` is told
    when the engine goes (why) and when it is back ("").
    """

    def __init__(
        self,
        engine: Engine,
        *,
        cluster: str,
        network: str,
        labels: Mapping[str, str],
        volumes: Volumes,
        clock: Clock,
        around: Callable[[Doc, str], Around],
        resolv_conf: Callable[[Doc], str],
        host_of: Callable[[Doc], str],
        secrets: Callable[[Doc], list[Mapping[str, Any]]],
        event: Event,
        health: Callable[[str], None],
        local: Callable[[str], Awaitable[str]] = itself,
        publish: str = "127.0.0.1",
    ) -> None:
        self.engine = engine
        self.cluster = cluster
        self.network = network
        self.volumes = volumes
        self.clock = clock
        self.around = around
        self.resolv_conf = resolv_conf
        self.host_of = host_of
        self.pull_secrets = secrets
        self.event = event
        self.publish = publish
        self.images = Images(engine, clock, local)
        self.addresses: dict[str, str] = {}
        self.memory = int(engine.info.get("MemTotal") or 0)
        self._labels = dict(labels)
        self._health = health
        self._workers: dict[str, PodWorker] = {}
        self._found: dict[str, list[Doc]] = {}
        self._exits: dict[str, asyncio.Event] = {}
        self._tasks = Tasks()
        self._stack = AsyncExitStack()
        self._listening = asyncio.Event()
        self.keep = False
        info = engine.info
        self.runtime = Runtime(
            f"{engine.kind}://{engine.version.get('Version', '')}",
            architecture=engine.architecture,
            os_image=str(info.get("OperatingSystem") or ""),
            kernel_version=str(info.get("KernelVersion") or ""),
        )

    async def __aenter__(self) -> Self:
        await self.engine.make_pause()
        await self._survey()
        self._tasks.start("events of the container engine", self._listen())
        await self._listening.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- what was left

    def labels(self, pod: Doc) -> dict[str, str]:
        """What marks everything a pod has in the engine."""
        metadata = pod["metadata"]
        return {
            **self._labels,
            marks.POD_UID: metadata["uid"],
            marks.POD: f"{metadata['namespace']}/{metadata['name']}",
        }

    async def _survey(self) -> None:
        """Note the containers that are there; a pod that starts asks for its own."""
        self._found.clear()
        wanted = {marks.CLUSTER: self._labels[marks.CLUSTER], marks.POD_UID: ""}
        for entry in await self.engine.containers(wanted):
            self._found.setdefault(entry["Labels"][marks.POD_UID], []).append(entry)

    async def existing(self, uid: str) -> list[Doc]:
        """The containers of a pod from before, as the engine lists them."""
        return self._found.pop(uid, [])

    async def reap(self, known: set[str]) -> int:
        """Remove what belongs to pods that are no more; how many containers that were."""
        count = 0
        for uid in [u for u in self._found if u not in known]:
            for entry in self._found.pop(uid):
                await self.engine.remove(entry["Id"])
                count += 1
            await self.engine.remove_volumes({marks.POD_UID: uid})
            await self.volumes.tear_down(uid)
        return count

    # -- pods

    @property
    def cluster_label(self) -> str:
        """What the label of its cluster says."""
        return self._labels[marks.CLUSTER]

    @property
    def workers(self) -> list[PodWorker]:
        """Those of all pods."""
        return list(self._workers.values())

    def worker(self, uid: str) -> PodWorker | None:
        """The worker of a pod."""
        return self._workers.get(uid)

    async def start(self, pod: Doc, address: str, report: Report) -> None:
        """Begin to run it."""
        worker = PodWorker(self, pod, address, report)
        self._workers[worker.uid] = worker
        worker.start()

    def update(self, pod: Doc) -> None:
        """Tell its worker."""
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is not None:
            worker.update(pod)

    async def stop(self, pod: Doc, grace: float) -> None:
        """End it; a pod without a worker may have containers of an earlier run."""
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        try:
            if worker is not None:
                await worker.stop(grace)
                self._workers.pop(uid, None)
            else:
                await self.remove_containers(uid)
                await self.volumes.tear_down(uid)
                self._found.pop(uid, None)
        except DockerError as e:
            raise CoveError(f"its containers could not be removed: {e}") from e

    def refresh(self, kind: str, namespace: str, name: str) -> None:
        """A ConfigMap or Secret has changed: bring files of pods up to date."""
        for worker in self._workers.values():
            if worker.pod["metadata"]["namespace"] == namespace:
                if worker.waits_for_configuration or self.volumes.depends_on(
                    worker.pod, kind, name
                ):
                    worker.wake()

    def joined(self, address: str, pod: Doc) -> None:
        """An address of the pod network is a pod's now."""
        if not pod["spec"].get("hostNetwork"):
            self.addresses[address] = pod["metadata"]["uid"]

    def left(self, address: str) -> None:
        """… and no longer."""
        self.addresses.pop(address, None)

    async def remove_containers(self, uid: str) -> None:
        """Remove all containers and volumes of a pod."""
        found = await self.engine.containers({marks.POD_UID: uid})
        # The sandbox last: the others live in its network.
        found.sort(key=lambda e: e["Labels"].get(marks.CONTAINER) == marks.SANDBOX)
        for entry in found:
            await self.engine.remove(entry["Id"])
            self._exits.pop(entry["Id"], None)
        if any((v.get("emptyDir") or {}).get("medium") == "Memory" for v in self._volumes_of(uid)):
            await self.engine.remove_volumes({marks.POD_UID: uid})

    def _volumes_of(self, uid: str) -> Sequence[Doc]:
        worker = self._workers.get(uid)
        if worker is None:
            return ({"emptyDir": {"medium": "Memory"}},)  # nobody knows: look
        return worker.pod["spec"].get("volumes") or ()

    # -- containers

    async def run(self, id: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in a container to its end; (exit code, what it wrote)."""
        made, stream = await self.engine.exec(id, command)
        output = bytearray()
        try:
            while (message := await stream.read_out()) is not None:
                if len(output) < OUTPUT:
                    output += message.data
        finally:
            await stream.close()
        inspected = await made.inspect()
        return int(inspected.get("ExitCode") or 0), output.decode(errors="replace")

    async def wait(self, id: str) -> None:
        """Return when a container does not run (any more)."""
        ended = self._exits.setdefault(id, asyncio.Event())
        try:
            while True:
                ended.clear()
                inspected = await self.engine.inspect(id)
                if inspected is None or not inspected["State"]["Running"]:
                    return
                await ended.wait()
        finally:
            self._exits.pop(id, None)

    async def stop_signal(self, id: str) -> str:
        """The signal its image wants to be ended with."""
        inspected = await self.engine.inspect(id)
        config = (inspected or {}).get("Config") or {}
        return str(config.get("StopSignal") or "SIGTERM")

    async def log_tail(self, id: str, lines: int, limit: int) -> str:
        """The end of a container's log."""
        from cove.node.docker.logs import frames

        inspected = await self.engine.inspect(id)
        tty = bool((inspected or {}).get("Config", {}).get("Tty"))
        params = {"stdout": "true", "stderr": "true", "tail": str(lines)}
        text = bytearray()
        async with self.engine.log(id, params) as content:
            async for piece in frames(content, tty):
                text += piece
        return bytes(text[-limit:]).decode(errors="replace")

    # -- the engine

    async def _listen(self) -> None:
        """Pass the engine's events on; when it goes, wait until it is back."""
        pause = AGAIN
        while True:
            try:
                async for event in self.engine.events(
                    {marks.CLUSTER: self._labels[marks.CLUSTER]}, self._connected
                ):
                    pause = AGAIN
                    self._happened(event)
                why = "the container engine has closed the connection"
            except (EngineDownError, DockerError) as e:
                why = str(e)
            self._health(why)
            log.warning("%s; trying again", why)
            await asyncio.sleep(pause)
            pause = min(pause * 2, AGAIN_LIMIT)

    def _connected(self) -> None:
        """The stream is open: what happened before it is looked up."""
        if self._listening.is_set():
            log.info("the container engine answers")
            self._health("")
            for worker in self._workers.values():
                worker.check()
            for ended in self._exits.values():
                ended.set()
        self._listening.set()

    def _happened(self, event: Doc) -> None:
        actor = event.get("Actor") or {}
        id = str(actor.get("ID") or "")
        if event.get("Action") in ("die", "destroy"):
            ended = self._exits.get(id)
            if ended is not None:
                ended.set()
        worker = self._workers.get((actor.get("Attributes") or {}).get(marks.POD_UID, ""))
        if worker is not None and event.get("Action") != "start":
            worker.changed(id)

    async def close(self) -> None:
        """Remove every container of the cluster; with :attr:`keep`, leave them running."""
        await self._tasks.close()
        workers = tuple(self._workers.values())
        await asyncio.gather(*(w.abandon() for w in workers))
        self._workers.clear()
        if self.keep:
            return
        try:
            await self._clear()
        except (EngineDownError, DockerError) as e:
            log.warning("containers are left for the next start to remove: %s", e)

    async def _clear(self) -> None:
        mine = {marks.CLUSTER: self._labels[marks.CLUSTER], marks.POD_UID: ""}
        found = await self.engine.containers(mine)
        ordinary = [e for e in found if e["Labels"].get(marks.CONTAINER) != marks.SANDBOX]
        for group in (ordinary, [e for e in found if e not in ordinary]):
            await asyncio.gather(*(self.engine.remove(e["Id"]) for e in group))
        await self.engine.remove_volumes(mine)
