"""Pods: the containers that run what was built, as they come, end and are replaced.

Whoever syncs files and whoever shows logs are told of each run of a container; both are
about exactly the pods that have the images of the last round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, Self

from cove.client import Client, Clock, Informer, Tasks
from cove.host.rollout import PODS

__all__ = ["Container", "Listener", "Pods"]

Doc = Mapping[str, Any]


class Container(NamedTuple):
    """One run of a container: another run has another ``id``."""

    namespace: str
    pod: str
    name: str
    id: str
    artifact: str
    image: str

    def __str__(self) -> str:
        return f"{self.pod}/{self.name}"


class Listener(Protocol):
    """Who is told; each method returns at once."""

    def started(self, container: Container) -> None:
        """It runs, and has not been told of before."""

    def gone(self, container: Container) -> None:
        """It does not run any more."""


class Pods:
    """Follows namespaces: ``async with Pods(client) as pods``.

    ``images`` (:meth:`expect`) are references of what was built, by artifact.
    ``crashed(artifact, text)`` is called when one of them ends with an error.
    """

    def __init__(
        self,
        client: Client,
        listeners: Iterable[Listener],
        *,
        crashed: Callable[[str, str], None],
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._listeners = list(listeners)
        self._crashed = crashed
        self._clock = clock
        self._tasks = Tasks()
        self._informers: dict[str, Informer] = {}
        self._images: dict[str, str] = {}
        self._running: dict[tuple[str, str, str], Container] = {}
        self._ends: dict[tuple[str, str, str], str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._tasks.close()

    def expect(self, images: Mapping[str, str]) -> None:
        """What is followed from now on: reference → artifact."""
        self._images = dict(images)
        for container in list(self._running.values()):
            if container.image not in self._images:
                self._forget(container)
        for informer in self._informers.values():
            for pod in informer:
                self._look(pod)

    async def follow(self, namespaces: Iterable[str]) -> None:
        """Follow these namespaces as well; returns when their pods are known."""
        for namespace in namespaces:
            if namespace not in self._informers:
                informer = Informer(self._client, PODS, namespace=namespace, clock=self._clock)
                informer.add_handler(self._told)
                self._informers[namespace] = informer
                informer.start(self._tasks)
        for informer in self._informers.values():
            await informer.synced.wait()

    @property
    def running(self) -> list[Container]:
        """The containers that run what was built, now."""
        return list(self._running.values())

    def _told(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is not None:
            self._look(new)
        elif old is not None:
            metadata = old["metadata"]
            for key in [
                k for k in self._running if k[:2] == (metadata["namespace"], metadata["name"])
            ]:
                self._forget(self._running[key])

    def _forget(self, container: Container) -> None:
        if self._running.pop(container[:3], None) is not None:
            for listener in self._listeners:
                listener.gone(container)

    def _look(self, pod: Doc) -> None:
        metadata, status = pod["metadata"], pod.get("status") or {}
        images = {c.get("name"): c.get("image") for c in pod["spec"].get("containers") or ()}
        ending = bool(metadata.get("deletionTimestamp"))
        for told in status.get("containerStatuses") or ():
            image = str(images.get(told.get("name")) or "")
            artifact = self._images.get(image)
            if artifact is None:
                continue
            key = (str(metadata["namespace"]), str(metadata["name"]), str(told["name"]))
            self._note_end(key, artifact, told, ending=ending)
            id = str(told.get("containerID") or "")
            before = self._running.get(key)
            runs = bool((told.get("state") or {}).get("running")) and bool(id)
            if before is not None and (not runs or before.id != id):
                self._forget(before)
                before = None
            if runs and before is None and not ending:
                container = self._running[key] = Container(*key, id, artifact, image)
                for listener in self._listeners:
                    listener.started(container)

    def _note_end(
        self, key: tuple[str, str, str], artifact: str, told: Doc, *, ending: bool
    ) -> None:
        """Tell of an end with an error, once."""
        state = told.get("state") or {}
        ended = state.get("terminated") or (told.get("lastState") or {}).get("terminated")
        if not ended or not ended.get("exitCode") or ending:
            return
        id = str(ended.get("containerID") or ended.get("finishedAt") or "")
        if self._ends.get(key) == id:
            return
        self._ends[key] = id
        self._crashed(artifact, f"{key[1]}/{key[2]} ended with exit code {ended['exitCode']}")
