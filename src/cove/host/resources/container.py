"""ContainerResource: a container of the application, beside its clusters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cove.engines.cluster import Lifetime
from cove.host.containers import CONFIG, Wanted, changed, configuration, fingerprint, networks
from cove.host.engine import APP, RESOURCE
from cove.host.errors import AppError, ResourceError
from cove.host.health import Check, checked
from cove.host.references import UrlReference
from cove.host.resources.image import ImageResource
from cove.host.resources.process import Referrer, watch_health

if TYPE_CHECKING:
    from cove.host.app import App
    from cove.host.run import Run
    from cove.node.docker.connection import Engine

__all__ = ["ContainerResource", "Pull"]

Pull = Literal["missing", "always", "never"]
Doc = dict[str, Any]


class ContainerResource(Referrer):
    """A container in Docker or Podman, on a network of the application.

    ``image`` is a name, or an image that the application builds.  ``command`` and
    ``entrypoint`` None are the image's own.  ``ports`` are ports of this machine by those
    inside the container, 0 for any free one; the first one is its URL.  ``mounts`` are files
    and folders by their place inside, always read-only; ``volumes`` are named volumes by
    theirs, and stay when the application ends.  ``lifetime`` ``persistent`` leaves it running
    when the application ends, and takes it as it is the next time unless its declaration
    changed.  ``health``, ``ready_within`` and ``grace`` are as of a process; ``pull`` says when
    its image is fetched.

    Other containers of the application reach it by its name.
    """

    kind: ClassVar[str] = "container"
    completes: ClassVar[bool] = True

    def __init__(
        self,
        app: App,
        name: str,
        image: str | ImageResource,
        *,
        command: Sequence[str] | None = None,
        entrypoint: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        ports: Mapping[int, int] | None = None,
        mounts: Mapping[str, str | Path] | None = None,
        volumes: Mapping[str, str] | None = None,
        lifetime: Lifetime = "session",
        health: Check | None = None,
        ready_within: float | None = None,
        pull: Pull = "missing",
        grace: float = 10.0,
        explicit_start: bool = False,
    ) -> None:
        if isinstance(image, str) and not image.strip():
            raise AppError(f"the image of container {name} is blank: name it")
        for port in (*(ports or {}), *(p for p in (ports or {}).values() if p)):
            if not 1 <= port <= 65535:
                raise AppError(f"port {port} of container {name}: ports are 1–65535")
        if isinstance(command, str) or isinstance(entrypoint, str):
            raise AppError(f"command and entrypoint of container {name} are lists of words")
        checked(name, health, "http://localhost" if ports else None)
        self.image = image
        self.command, self.entrypoint = command, entrypoint
        self.env = dict(env or {})
        self.ports = dict(ports or {})
        self.mounts = {place: app.path(path) for place, path in (mounts or {}).items()}
        self.volumes = dict(volumes or {})
        self.persistent = lifetime == "persistent"
        self.health, self.ready_within, self.grace = health, ready_within, grace
        self.pull = pull
        super().__init__(app, name, explicit_start=explicit_start)
        if isinstance(image, ImageResource):
            self.after(image)

    @property
    def properties(self) -> Mapping[str, str]:
        """The image."""
        return {"image": self.image if isinstance(self.image, str) else self.image.name}

    async def run(self, run: Run) -> int | None:
        """Run it; see Resource.run."""
        from cove.node.docker.connection import DockerError, EngineDownError

        try:
            engine = await run.host.engines.get()
            network = await run.host.engines.network()
            wanted = await self._wanted(run, network)
            await self._image(run, engine, wanted.image)
            id = await self._made(run, engine, network, wanted)
            try:
                return await self._follow(run, engine, id)
            finally:
                if not self.persistent or run.host.discarding:
                    await self._end(run, engine, id)
        except (DockerError, EngineDownError) as e:
            raise ResourceError(_said(e)) from e

    async def _wanted(self, run: Run, network: str) -> Wanted:
        missing = [str(path) for path in self.mounts.values() if not path.exists()]
        if missing:
            raise ResourceError(f"there is no {missing[0]} to be mounted into {self.name}")
        parts = [
            await provider.for_container(network)
            for name in self.references
            if (provider := run.host.provided(name)) is not None
        ]
        image = self.image if isinstance(self.image, str) else self.image.built
        return Wanted(
            image=image,
            command=self.command,
            entrypoint=self.entrypoint,
            env=self.env,
            ports=self.ports,
            mounts=self.mounts,
            volumes={
                place: f"cove-{self.app.name}-{volume}" for place, volume in self.volumes.items()
            },
            parts=parts,
        )

    async def _image(self, run: Run, engine: Engine, image: str) -> None:
        from cove.node.docker.connection import DockerError

        found = await engine.image(image) is not None
        if self.pull == "never" or (found and self.pull == "missing"):
            if not found:
                raise ResourceError(
                    f"there is no image {image} in {engine.address}, and pull is never"
                )
            return
        await run.starting(f"fetching {image}")
        run.log(f"fetching {image}")
        try:
            await engine.pull(image)
        except DockerError as e:
            raise ResourceError(
                f"image {image} is not in {engine.address} and cannot be fetched: {_said(e)}"
            ) from e

    async def _made(self, run: Run, engine: Engine, network: str, wanted: Wanted) -> str:
        """The id of the container, running."""
        name = f"cove-{self.app.name}-{run.host.engines.key}-{self.name}"
        labels = run.host.engines.labels(self.name, persistent=self.persistent)
        if self.persistent:
            for known in await engine.containers({APP: self.app.name, RESOURCE: self.name}):
                differs = changed(known["Labels"].get(CONFIG, ""), fingerprint(wanted))
                if known["State"] == "running" and not differs:
                    run.log("it runs already, as it is declared")
                    return str(known["Id"])
                why = f"changed: {', '.join(differs)}" if differs else f"it is {known['State']}"
                run.log(f"it is made anew ({why})")
                await engine.remove(known["Id"])
        config = configuration(wanted, name=self.name, network=network, labels=labels)
        id = await engine.create(name, config)
        try:
            for other in networks(wanted.parts):
                await engine.connect(other, id)
            await engine.start(id)
        except BaseException:
            await engine.remove(id)
            raise
        return id

    async def _follow(self, run: Run, engine: Engine, id: str) -> int:
        inspected = await engine.inspect(id)
        url, inside = self._urls(inspected or {})
        if url:
            run.provide(UrlReference(self.name, lambda: url, lambda: inside))
        check = checked(self.name, self.health, url or None)
        await run.tell(container=id[:12])
        logs = asyncio.create_task(self._logs(run, engine, id), name=f"logs of {self.name}")
        ended = asyncio.create_task(engine.ended(id), name=f"end of {self.name}")
        tasks = [logs, ended]
        waited: set[asyncio.Task[Any]] = {ended}
        try:
            if check is None:
                await run.running(url=url)
            else:
                health = asyncio.create_task(
                    watch_health(run, check, url, self.ready_within), name=f"health of {self.name}"
                )
                tasks.append(health)
                waited.add(health)
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                done.pop().result()  # raises: it was not healthy in time
            code = ended.result()
            run.exit_code = code
            await asyncio.wait((logs,), timeout=1.0)
            if not code and check is not None and not run.was_running:
                raise ResourceError("it ended with exit code 0 before it was healthy")
            return code
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _urls(self, inspected: Doc) -> tuple[str, str]:
        """Its URL on this machine, and for containers beside it; "" if it has no port."""
        if not self.ports:
            return "", ""
        first = next(iter(self.ports))
        found = ((inspected.get("NetworkSettings") or {}).get("Ports") or {}).get(f"{first}/tcp")
        outside = f"http://localhost:{found[0]['HostPort']}" if found else ""
        return outside, f"http://{self.name}:{first}"

    async def _logs(self, run: Run, engine: Engine, id: str) -> None:
        from cove.node.docker.connection import DockerError, EngineDownError
        from cove.node.docker.logs import frames

        params = {"stdout": "true", "stderr": "true", "follow": "true"}
        if self.persistent:
            params["tail"] = "100"
        try:
            async with engine.log(id, params) as content:
                async for text in _lines(frames(content, tty=False)):
                    run.log(text)
        except (DockerError, EngineDownError) as e:
            run.log(f"its log cannot be read any more: {_said(e)}")

    async def _end(self, run: Run, engine: Engine, id: str) -> None:
        """Stop and remove it, by force once its grace is over or somebody is in a hurry."""
        from cove.node.docker.connection import DockerError, EngineDownError

        async def stopped() -> None:
            state = ((await engine.inspect(id)) or {}).get("State") or {}
            if state.get("Running"):
                await engine.kill(id, "SIGTERM")
                run.exit_code = await engine.ended(id)

        work = asyncio.ensure_future(stopped())
        hurried = asyncio.ensure_future(run.hurry.wait())
        try:
            await asyncio.wait(
                (work, hurried), timeout=self.grace, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (work, hurried):
                task.cancel()
            await asyncio.gather(work, hurried, return_exceptions=True)
            try:
                await engine.remove(id)
            except (DockerError, EngineDownError) as e:
                run.log(f"it could not be removed; the next start will: {_said(e)}")


async def _lines(pieces: AsyncIterator[bytes], longest: int = 64 * 1024) -> AsyncIterator[str]:
    """Lines of what a container wrote, in parts where they are longer than ``longest``."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
        while len(rest) > longest:
            yield rest[:longest].decode(errors="replace")
            rest = rest[longest:]
    if rest:
        yield rest.decode(errors="replace")


def _said(error: Exception) -> str:
    """The engine's own words."""
    return str(getattr(error, "message", "") or error)
