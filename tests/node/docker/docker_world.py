"""A cluster whose pods run in the Docker of this machine, and an image made of busybox."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cove.client import Client
from cove.engines.embedded import EmbeddedCluster
from cove.kube.gvk import GVR
from cove.node.docker.connection import Engine

Doc = dict[str, Any]

PODS = GVR("", "v1", "pods")
EVENTS = GVR("", "v1", "events")
IMAGE = "cove.dev/busybox:3"
PATIENCE = 60
APPLETS = (
    "chmod "
    "sh sleep nc httpd wget nslookup cat echo env ls ps id hostname mkdir sed true false kill "
    "touch stat readlink dd yes head tail mount df grep printf date tar sha256sum wc cp rm"
)


def _busybox() -> Path | None:
    found = Path("/bin/busybox")
    return found if found.exists() else None


async def make_image(engine: Engine, name: str, command: str = '["/bin/sh"]') -> None:
    """An image of busybox-static, from this machine alone."""
    binary = _busybox()
    if binary is None:
        pytest.skip("busybox-static is missing")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(binary, "bin/busybox")
        for applet in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("tmp", "etc", "proc", "dev", "var/run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
    await engine.import_image(name, file.getvalue(), f"CMD {command}")


class World:
    """A cluster with real pods, and what tests ask of it."""

    def __init__(self, cluster: EmbeddedCluster, engine: Engine) -> None:
        self.cluster = cluster
        self.engine = engine
        self.client: Client = cluster.client

    @property
    def folder(self) -> Path:
        """Where what pods have on the host is kept."""
        assert self.cluster.containers is not None
        return self.cluster.containers.nodes.driver.volumes.folder.parent

    async def pod(self, name: str = "p", **spec: Any) -> Doc:
        """Create a pod; containers without an image get busybox."""
        metadata: Doc = spec.pop("metadata", {})
        for kind in ("containers", "initContainers"):
            for container in spec.get(kind, ()):
                container.setdefault("image", IMAGE)
        body = {
            "metadata": {"name": name, **metadata},
            "spec": {"terminationGracePeriodSeconds": 1, **spec},
        }
        return await self.client.create(PODS, body, "default")

    async def run(self, script: str, name: str = "p", **spec: Any) -> Doc:
        """A pod with one container that runs a script."""
        return await self.pod(name, containers=[container(script)], **spec)

    async def until(self, fits: Callable[[Doc], bool], name: str = "p") -> Doc:
        """The pod as soon as it fits."""
        last: Doc = {}
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self.client.watch(
                    PODS, "default", field_selector=f"metadata.name={name}"
                ) as events,
            ):
                async for event in events:
                    if event.type in ("ADDED", "MODIFIED"):
                        last = event.object
                        if fits(last):
                            return last
        except TimeoutError:
            raise AssertionError(
                f"the pod stays {last.get('status')}; {await self.told()}"
            ) from None
        raise AssertionError("the watch ended")

    async def running(self, name: str = "p") -> Doc:
        """The pod once it runs and is ready."""
        return await self.until(is_ready, name)

    async def ended(self, name: str = "p") -> Doc:
        """The pod once it has succeeded or failed."""
        return await self.until(lambda p: p["status"].get("phase") in ("Succeeded", "Failed"), name)

    async def gone(self, name: str = "p", grace: int | None = None) -> None:
        """Delete it and wait until it is gone."""
        pod = await self.client.get(PODS, name, "default")
        await self.client.delete(PODS, name, "default", grace=grace)
        async with (
            asyncio.timeout(PATIENCE),
            self.client.watch(
                PODS,
                "default",
                field_selector=f"metadata.name={name}",
                resource_version=pod["metadata"]["resourceVersion"],
            ) as events,
        ):
            async for event in events:
                if event.type == "DELETED":
                    return

    async def log(self, name: str = "p", container: str = "c", **options: Any) -> str:
        """What a container has written."""
        from cove.kube.podoptions import LogOptions

        pod = await self.client.get(PODS, name, "default")
        kubelet = self.cluster.api.kubelet
        assert kubelet is not None
        text = b"".join([p async for p in kubelet.logs(pod, container, LogOptions(**options))])
        return text.decode()

    async def says(self, text: str, name: str = "p", container: str = "c") -> None:
        """Return when a container has written ``text``, and nothing else."""
        from cove.kube.podoptions import LogOptions

        pod = await self.client.get(PODS, name, "default")
        kubelet = self.cluster.api.kubelet
        assert kubelet is not None
        written = b""
        async with asyncio.timeout(PATIENCE):
            async for piece in kubelet.logs(pod, container, LogOptions(follow=True)):
                written += piece
                if len(written) >= len(text):
                    break
        assert written.decode() == text

    async def exec(self, *command: str, name: str = "p", container: str = "c") -> tuple[int, str]:
        """A command's exit code and output."""
        from cove.kube.podoptions import ExecOptions

        pod = await self.client.get(PODS, name, "default")
        kubelet = self.cluster.api.kubelet
        assert kubelet is not None
        options = ExecOptions(command=command, stdout=True, stderr=True)
        running = await kubelet.run(pod, container, options)
        try:
            output = b""
            while (piece := await running.read()) is not None:
                output += piece[1]
            return await running.wait(), output.decode()
        finally:
            await running.aclose()

    async def told(self) -> list[str]:
        """The events so far: reason and message."""
        found = (await self.client.list(EVENTS, "default")).items
        return [f"{e['reason']}: {e['message']}" for e in found]

    async def event(self, reason: str) -> Doc:
        """The first event with a reason."""
        async with asyncio.timeout(PATIENCE), self.client.watch(EVENTS, "default") as events:
            async for event in events:
                if event.type in ("ADDED", "MODIFIED") and event.object["reason"] == reason:
                    return event.object
        raise AssertionError("the watch ended")

    async def containers(self) -> list[Doc]:
        """What the engine has of this cluster."""
        assert self.cluster.containers is not None
        driver = self.cluster.containers.nodes.driver
        return await self.engine.containers({"dev.cove.cluster": driver.cluster_label})


def container(script: str, name: str = "c", **more: Any) -> Doc:
    """A container that runs a script."""
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **more}


def is_ready(pod: Doc) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def status_of(pod: Doc, name: str = "c", kind: str = "containerStatuses") -> Doc:
    listed = pod["status"].get(kind) or ()
    return next((s for s in listed if s["name"] == name), {})
