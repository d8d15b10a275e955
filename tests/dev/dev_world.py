"""A project on disk and the loop at work on it, in a cluster whose pods run in Docker."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from cove import App
from cove.dev.declared import plan_of
from cove.dev.loop import Loop
from cove.dev.plan import Plan
from cove.dev.session import Options, Session
from cove.node.docker import find_engine
from cove.node.docker.connection import Engine

BASE = "cove.dev/dev-busybox:1"
PATIENCE = 60
_APPLETS = (
    "sh cat ls mkdir rm tar httpd wget sleep echo env touch printf kill chmod true false grep find"
)

DOCKERFILE = f"""FROM {BASE}
COPY src /www
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""

MANIFESTS = """apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: shop/web:dev
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{port: 80, targetPort: 8080}]
"""


async def make_base() -> None:
    """The image that tests build on, of busybox alone."""
    address = find_engine("docker", {})
    assert address is not None
    async with Engine(address) as engine:
        if await engine.image(BASE) is not None:
            return
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add("/bin/busybox", "bin/busybox")
            for applet in _APPLETS.split():
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            for name in ("tmp", "etc", "proc", "dev", "www"):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o777
                tar.addfile(folder)
        await engine.import_image(BASE, file.getvalue(), 'CMD ["/bin/sh"]')


class Project:
    """A folder with an application of one image; ``name`` is what everything in it is called."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        root.mkdir(parents=True, exist_ok=True)
        self.write("Dockerfile", DOCKERFILE)
        self.write("src/index.html", "one")
        self.write("k8s.yaml", MANIFESTS.replace("NAME", name))
        self.write(".dockerignore", "k8s.yaml\n")

    def write(self, path: str, text: str) -> None:
        """A file of it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def plan(self, **image: Any) -> Plan:
        """Its plan; the cluster is the one that all tests of a module share."""
        app = App(self.name, root=self.root)
        k8s = app.cluster("k8s")
        app.image("web", ".", **image)
        manifests = k8s.manifests("workload", "k8s.yaml", images={"shop/web": "web"})
        k8s.endpoint("page", service=self.name, port=80).after(manifests)
        return shared(plan_of(app))


def shared(plan: Plan) -> Plan:
    """The plan on the module's cluster."""
    from dataclasses import replace

    return replace(plan, cluster=replace(plan.cluster, name="devtests"))


class Running:
    """A loop at work: what it says, how its rounds end, and what it serves."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.said: list[str] = []
        self.logs: list[str] = []
        self._rounds: asyncio.Queue[str] = asyncio.Queue()
        self._changed = asyncio.Event()

    def say(self, name: str, text: str) -> None:
        self.said += [f"{name}: {line}" for line in text.splitlines()]
        self._changed.set()

    def show(self, name: str, text: str) -> None:
        self.logs.append(f"{name}: {text}")
        self._changed.set()

    def rounds(self, how: str) -> None:
        self._rounds.put_nowait(how)

    async def round(self) -> str:
        """How the next round ends: "" or what failed."""
        async with asyncio.timeout(PATIENCE):
            return await self._rounds.get()

    async def good(self) -> None:
        """The next round ends well."""
        how = await self.round()
        assert how == "", "\n".join([how, *self.said[-30:]])

    async def until(self, fits: Callable[[], bool]) -> None:
        """Return when something that was said fits."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not fits():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError("\n".join(self.said[-40:])) from None

    async def says(self, text: str) -> None:
        """Return when a line has it."""
        await self.until(lambda: any(text in line for line in self.said))

    async def get(self, path: str = "/") -> str:
        """What is served now, at the port that is forwarded."""
        await self.says("leads to")
        url = next(line for line in self.said if "leads to" in line).split()[1]
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(url + path) as answer:
                        return (await answer.text()).strip() if answer.status == 200 else "none"
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)  # between two pods

    async def moment(self, seconds: float) -> None:
        """Until something is said, at most so long."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def pods(self) -> list[dict[str, Any]]:
        """Those of the project."""
        from cove.host.rollout import PODS

        name = self.session.plan.name
        return (await self.session.client.list(PODS, "default", label_selector=f"app={name}")).items

    async def exec(self, *command: str) -> str:
        """What a command says in the one pod that is not ending."""
        (pod,) = [p for p in await self.pods() if not p["metadata"].get("deletionTimestamp")]
        result = await self.session.client.exec(pod["metadata"]["name"], command, "default")
        return result.text


@asynccontextmanager
async def running(
    plan: Plan, *, options: Options | None = None, logs: bool = False
) -> AsyncIterator[Running]:
    """The loop at work; what it deployed is taken away afterwards."""
    said: list[Running] = []

    def say(name: str, text: str) -> None:
        if said:
            said[0].say(name, text)

    session = Session(plan, options or Options(), say=say)
    world = Running(session)
    said.append(world)
    async with session:
        loop = Loop(session, show=world.show if logs else None, rounds=world.rounds)
        task = asyncio.create_task(loop.run())
        try:
            yield world
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await session.take_away()
