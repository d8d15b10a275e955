"""Engine: the calls to Docker's API that pods need, and nothing about pods.

Errors are aiodocker's DockerError, with the engine's own words; :class:`Gone` for what is
not there, :class:`EngineDownError` when nobody answers.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any, Self

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError
from aiodocker.stream import Stream

from cove.client._tasks import whole
from cove.kube.status import CoveError
from cove.node.docker import pause
from cove.node.docker.engine import EngineAddress, EngineError

__all__ = ["DockerError", "Engine", "EngineDownError"]

log = logging.getLogger("cove.node")

Doc = dict[str, Any]
FOREVER = aiohttp.ClientTimeout(total=None, sock_connect=10)
# How long a removal that is under way may take.
REMOVAL = aiohttp.ClientTimeout(total=30, sock_connect=10)


class EngineDownError(CoveError):
    """The engine does not answer (any more)."""


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """A broken connection as EngineDownError."""
    try:
        yield
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as e:
        raise EngineDownError(
            f"the container engine does not answer: {str(e) or type(e).__name__}"
        ) from e
    except DockerError as e:
        # aiodocker's own word for a connection that failed.
        if e.status == 900:
            raise EngineDownError(f"the container engine does not answer: {e}") from e
        raise


class Engine:
    """A connection to an engine: ``async with Engine(address) as engine``.

    :attr:`version`, :attr:`info` say what it is.  Raises EngineError when it is none.
    """

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        self.version: Doc = {}
        self.info: Doc = {}
        self._docker: aiodocker.Docker | None = None
        self._connector: aiohttp.BaseConnector | None = None

    @property
    def docker(self) -> aiodocker.Docker:
        """aiodocker's client."""
        assert self._docker is not None, "the connection is not open"
        return self._docker

    @property
    def kind(self) -> str:
        """docker or podman."""
        names = [c.get("Name", "") for c in self.version.get("Components") or ()]
        return "podman" if any("podman" in n.lower() for n in names) else "docker"

    async def __aenter__(self) -> Self:
        connector: aiohttp.UnixConnector | None = None
        if self.address.url.startswith("unix://"):
            # Every pod that starts waits in a request of its own.
            connector = aiohttp.UnixConnector(self.address.url.removeprefix("unix://"), limit=0)
            self._connector = connector
        url = "unix://localhost" if connector is not None else self.address.url
        self._docker = aiodocker.Docker(url=url, connector=connector)
        try:
            async with _told():
                self.version = dict(await self.docker.version())
                self.info = dict(await self.docker.system.info())
        except (EngineDownError, DockerError) as e:
            await self._close()
            raise EngineError(f"{self.address} is no container engine: {e}") from e
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    async def _close(self) -> None:
        await self.docker.close()
        if self._connector is not None:
            await self._connector.close()

    @property
    def architecture(self) -> str:
        """amd64 or arm64, as images name it."""
        found = str(self.version.get("Arch") or "amd64")
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(found, found)

    @asynccontextmanager
    async def _open(
        self, path: str, method: str = "GET", **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer as it begins; what is not read of it when it is left is not waited for."""
        async with (
            _told(),
            self.docker._query(path, method, **options) as response,
            response,
        ):
            yield response

    # -- containers

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Make a container; its id.  One of the same name, left by a crash, makes way.

        Who is cancelled meanwhile leaves when it is made: whoever looks afterwards finds it.
        """
        return await whole(asyncio.ensure_future(self._create(name, config)))

    async def _create(self, name: str, config: Mapping[str, Any]) -> str:
        async with _told():
            try:
                made = await self.docker.containers.create(dict(config), name=name)
            except DockerError as e:
                if e.status != 409:
                    raise
                await self.remove(name)
                made = await self.docker.containers.create(dict(config), name=name)
        return str(made.id)

    async def start(self, id: str) -> None:
        """Start it."""
        async with _told():
            await self.docker.containers.container(id).start()

    async def stop(self, id: str, grace: int) -> None:
        """Ask it to end, after ``grace`` seconds make it; one that does not run is left alone."""
        async with _told():
            try:
                await self.docker.containers.container(id).stop(t=grace)
            except DockerError as e:
                if e.status not in (304, 404):
                    raise

    async def put(self, id: str, tar: bytes) -> None:
        """Unpack a tar over the file system of a container, which need not run yet."""
        async with _told():
            await self.docker.containers.container(id).put_archive("/", tar)

    async def put_stream(self, id: str, tar: AsyncIterator[bytes]) -> None:
        """The same with a tar that comes in pieces."""
        async with self._open(
            f"containers/{id}/archive",
            "PUT",
            params={"path": "/"},
            data=tar,
            headers={"Content-Type": "application/x-tar"},
            timeout=FOREVER,
        ) as response:
            await response.read()

    async def update(self, id: str, limits: Mapping[str, Any]) -> None:
        """Change the limits of a container that runs."""
        async with _told():
            await self.docker._query_json(f"containers/{id}/update", "POST", data=dict(limits))

    async def kill(self, id: str, signal: str = "SIGKILL") -> None:
        """Send a signal; one that does not run (any more) is left alone."""
        async with _told():
            try:
                await self.docker.containers.container(id).kill(signal=signal)
            except DockerError as e:
                if e.status not in (404, 409, 500):
                    raise

    async def ended(self, id: str) -> int:
        """Its exit code, once it has ended; -1 for one that is not there (any more)."""
        try:
            async with self._open(f"containers/{id}/wait", "POST", timeout=FOREVER) as response:
                return int(json.loads(await response.read())["StatusCode"])
        except DockerError as e:
            if e.status == 404:
                return -1
            raise

    async def inspect(self, id: str) -> Doc | None:
        """What it is now; None if there is none."""
        async with _told():
            try:
                return await self.docker.containers.container(id).show()
            except DockerError as e:
                if e.status == 404:
                    return None
                raise

    async def remove(self, id: str) -> None:
        """Kill and remove it, with its anonymous volumes; none is fine.

        It is gone when this returns, also where somebody else is removing it.
        """
        async with _told():
            try:
                await self.docker.containers.container(id).delete(force=True, v=True)
            except DockerError as e:
                if e.status == 409:
                    await self._removed(id)
                elif e.status != 404:
                    raise

    async def _removed(self, id: str) -> None:
        """Return when a container is gone whose removal is under way."""
        path, until = f"containers/{id}/wait", {"condition": "removed"}
        try:
            async with self._open(path, "POST", params=until, timeout=REMOVAL) as response:
                await response.read()
        except DockerError as e:
            if e.status != 404:
                raise

    async def containers(self, labels: Mapping[str, str]) -> list[Doc]:
        """All with these labels, running or not; an empty value fits any."""
        filters = {"label": [f"{k}={v}" if v else k for k, v in labels.items()]}
        async with _told():
            found = await self.docker.containers.list(all=True, filters=filters)
        return [c._container for c in found]

    # -- images

    async def image(self, name: str) -> Doc | None:
        """An image the engine has, None if it has none of that name."""
        async with _told():
            try:
                return dict(await self.docker.images.inspect(name))
            except DockerError as e:
                if e.status in (400, 404):
                    return None
                raise

    async def pull(self, name: str, auth: Mapping[str, Any] | None = None) -> None:
        """Fetch it; raises DockerError with what the registry said."""
        async with _told():
            await self.docker.images.pull(name, auth=dict(auth) if auth else None)

    async def save(self, name: str) -> AsyncIterator[bytes]:
        """An image as an archive, piece by piece."""
        async with self._open(f"images/{name}/get", timeout=FOREVER) as response:
            async for piece in response.content.iter_chunked(1024 * 1024):
                yield piece

    async def tag(self, name: str, other: str) -> None:
        """Give an image another name."""
        repository, _, tag = other.rpartition(":")
        if not repository or "/" in tag:
            repository, tag = other, "latest"
        async with _told():
            await self.docker.images.tag(name, repository, tag=tag)

    async def builder(self) -> str:
        """What the engine builds with unless told otherwise: buildkit or classic.

        Source: ``Builder-Version`` in the answer to ``/_ping``
        """
        async with self._open("_ping", versioned_api=False) as response:
            return "buildkit" if response.headers.get("Builder-Version") == "2" else "classic"

    async def push(self, name: str, auth: Mapping[str, Any] | None = None) -> AsyncIterator[Doc]:
        """Send it to the registry in its name; what the engine says as it goes."""
        repository, _, tag = name.rpartition(":")
        packed = base64.urlsafe_b64encode(json.dumps(dict(auth or {})).encode()).decode()
        async with self._open(
            f"images/{repository}/push",
            "POST",
            params={"tag": tag},
            headers={"X-Registry-Auth": packed},
            timeout=FOREVER,
        ) as response:
            async for line in response.content:
                if line.strip():
                    yield json.loads(line)

    async def images(self, labels: Mapping[str, str]) -> list[Doc]:
        """All with these labels; an empty value fits any."""
        filters = {"label": [f"{k}={v}" if v else k for k, v in labels.items()]}
        async with _told():
            return [dict(i) for i in await self.docker.images.list(filters=filters)]

    async def remove_image(self, name: str) -> None:
        """Take a name from an image, which goes with its last; one in use, or none, is left."""
        async with _told():
            try:
                await self.docker.images.delete(name)
            except DockerError as e:
                if e.status not in (404, 409):
                    raise

    async def make_pause(self) -> None:
        """Make the sandboxes' image unless it is there."""
        if await self.image(pause.IMAGE) is not None:
            return
        try:
            tar = pause.archive(self.architecture)
        except KeyError:
            raise EngineError(
                f"{self.address} runs on {self.architecture}: sandboxes exist for amd64 and arm64"
            ) from None
        await self.import_image(pause.IMAGE, tar, 'CMD ["/pause"]')

    async def import_image(self, name: str, tar: bytes, changes: str = "") -> None:
        """Make an image of a file system; ``changes`` is a line of a Dockerfile."""
        repository, _, tag = name.rpartition(":")
        params = {"fromSrc": "-", "repo": repository, "tag": tag}
        if changes:
            params["changes"] = changes
        headers = {"Content-Type": "application/x-tar"}
        async with self._open(
            "images/create", "POST", params=params, data=io.BytesIO(tar), headers=headers
        ) as response:
            await response.read()

    async def build(self, tar: IO[bytes], params: Mapping[str, Any]) -> AsyncIterator[Doc]:
        """Build an image of a context, a tar file; what the engine says as it goes.

        Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageBuild
        """
        headers = {"Content-Type": "application/x-tar"}
        async with self._open(
            "build", "POST", params=dict(params), data=tar, headers=headers, timeout=FOREVER
        ) as response:
            async for line in response.content:
                if line.strip():
                    yield json.loads(line)

    # -- networks and volumes

    async def networks(self, labels: Mapping[str, str] | None = None) -> list[Doc]:
        """Those with these labels, or all."""
        filters = {"label": [f"{k}={v}" if v else k for k, v in (labels or {}).items()]}
        async with _told():
            return list(await self.docker.networks.list(filters=filters if labels else None))

    async def create_network(self, config: Mapping[str, Any]) -> str:
        """Make one; its id."""
        async with _told():
            made = await self.docker.networks.create(dict(config))
        return str(made.id)

    async def remove_network(self, name: str) -> None:
        """Remove one; none is fine."""
        async with _told():
            try:
                network = await self.docker.networks.get(name)
                await network.delete()
            except DockerError as e:
                if e.status != 404:
                    raise

    async def connect(self, network: str, id: str) -> None:
        """Put a container on another network as well."""
        async with _told():
            await self.docker._query_json(
                f"networks/{network}/connect", "POST", data={"Container": id}
            )

    async def create_volume(self, name: str, labels: Mapping[str, str], size: int) -> None:
        """A tmpfs that several containers mount; ``size`` in bytes, 0 for no limit."""
        options = {"type": "tmpfs", "device": "tmpfs"}
        if size:
            options["o"] = f"size={size}"
        config = {"Name": name, "Driver": "local", "DriverOpts": options, "Labels": dict(labels)}
        async with _told():
            await self.docker.volumes.create(config)

    async def keep_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """A volume on the engine's disk; one of that name that is there stays as it is."""
        async with _told():
            await self.docker.volumes.create({"Name": name, "Labels": dict(labels)})

    async def remove_volume(self, name: str) -> None:
        """Remove one, with all that is in it; none is fine."""
        async with _told():
            try:
                await (await self.docker.volumes.get(name)).delete()
            except DockerError as e:
                if e.status != 404:
                    raise

    async def remove_volumes(self, labels: Mapping[str, str]) -> None:
        """Remove every volume with these labels."""
        filters = {"label": [f"{k}={v}" if v else k for k, v in labels.items()]}
        async with _told():
            found = await self.docker.volumes.list(filters=filters)
            for volume in found.get("Volumes") or ():
                try:
                    await (await self.docker.volumes.get(volume["Name"])).delete()
                except DockerError as e:
                    if e.status not in (404, 409):
                        raise

    # -- inside

    async def exec(
        self,
        id: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        tty: bool = False,
        stdout: bool = True,
        stderr: bool = True,
    ) -> tuple[aiodocker.execs.Exec, Stream]:
        """Begin a command in a container that runs; close the stream."""
        async with _told():
            made = await self.docker.containers.container(id).exec(
                list(command), stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
            )
            stream = made.start(detach=False)
            try:
                await stream._init()
            except BaseException:
                await stream.close()
                raise
        return made, stream

    async def run(self, id: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in a container to its end: its exit code and what it wrote."""
        made, stream = await self.exec(id, command)
        text = b""
        async with _told():
            try:
                while (message := await stream.read_out()) is not None:
                    text += message.data
            finally:
                await stream.close()
            found = await made.inspect()
        return int(found["ExitCode"] or 0), text.decode(errors="replace").strip()

    async def attach(self, id: str, *, stdin: bool, stdout: bool, stderr: bool) -> Stream:
        """The streams of a container's own process; close it."""
        async with _told():
            stream = self.docker.containers.container(id).attach(
                stdin=stdin, stdout=stdout, stderr=stderr
            )
            await stream._init()
        return stream

    @asynccontextmanager
    async def log(self, id: str, params: Mapping[str, Any]) -> AsyncIterator[aiohttp.StreamReader]:
        """A container's log as the engine frames it."""
        async with self._open(
            f"containers/{id}/logs", params=dict(params), timeout=FOREVER
        ) as response:
            yield response.content

    async def stats(self, id: str) -> Doc | None:
        """One sample of what a container uses; None if it does not run."""
        try:
            async with self._open(
                f"containers/{id}/stats", params={"stream": "false", "one-shot": "true"}
            ) as response:
                text = await response.read()
        except DockerError as e:
            if e.status in (404, 409):
                return None
            raise
        # Docker says nothing at all of one that ends while it looks.
        return json.loads(text) if text.strip() else None

    async def events(
        self, labels: Mapping[str, str], opened: Callable[[], None]
    ) -> AsyncIterator[Doc]:
        """What happens to the containers with these labels; ends when the engine does.

        ``opened`` is called once nothing will be missed any more.
        """
        filters = {
            "type": ["container"],
            "label": [f"{k}={v}" if v else k for k, v in labels.items()],
            "event": ["start", "die", "oom", "destroy"],
        }
        async with self._open(
            "events", params={"filters": json.dumps(filters)}, timeout=FOREVER
        ) as response:
            opened()
            async for line in response.content:
                yield json.loads(line)
