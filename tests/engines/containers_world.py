"""Containers of this machine's Docker, made of busybox, for tests of engines."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from command import BIN

from cove.node.docker import find_engine
from cove.node.docker.connection import Engine
from cove.node.docker.logs import frames

Doc = dict[str, Any]
BOX = "cove.dev/engines-box:1"
LABEL = "dev.cove.test"
_APPLETS = (
    "sh cat ls mkdir cp mv nc env stat readlink mount grep sed sleep echo hostname true kill "
    "head tail chmod dirname printf ps"
)


@asynccontextmanager
async def docker() -> AsyncIterator[Engine]:
    """The Docker of this machine, whatever the environment says."""
    address = find_engine("docker")
    assert address is not None
    async with Engine(address) as engine:
        yield engine


async def make_box(engine: Engine, name: str, files: Mapping[str, str], command: str) -> None:
    """An image of busybox and executable ``files``; nothing is downloaded."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in _APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("tmp", "etc", "proc", "dev", "sys", "run", "var/run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
        for path, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    await engine.import_image(name, made.getvalue(), command)


@asynccontextmanager
async def network(engine: Engine, name: str) -> AsyncIterator[str]:
    """A network of the test's own."""
    await engine.create_network({"Name": name, "Driver": "bridge", "Labels": {LABEL: name}})
    try:
        yield name
    finally:
        await engine.remove_network(name)


async def run(engine: Engine, name: str, config: Doc) -> tuple[int, str]:
    """A container's exit code and what it wrote; it is gone afterwards."""
    id = await engine.create(name, {"Labels": {LABEL: name}, **config})
    try:
        await engine.start(id)
        ended = await engine.docker.containers.container(id).wait()
        async with engine.log(id, {"stdout": "true", "stderr": "true"}) as content:
            text = b"".join([piece async for piece in frames(content, False)])
        return int(ended["StatusCode"]), text.decode()
    finally:
        await engine.remove(id)


async def kubectl_inside(
    engine: Engine,
    folder: Path,
    net: str,
    *arguments: str,
    user: str = "1000",
    hosts: tuple[str, ...] = ("host.docker.internal:host-gateway",),
) -> tuple[int, str]:
    """The real kubectl in a container on ``net``, with a folder for its kubeconfig."""
    if await engine.image(BOX) is None:
        await make_box(engine, BOX, {}, 'CMD ["/bin/sh"]')
    config: Doc = {
        "Image": BOX,
        "Cmd": ["/kubectl", *arguments],
        "User": user,
        "Env": ["KUBECONFIG=/kube/kubeconfig.yaml", "HOME=/tmp"],
        "HostConfig": {
            "NetworkMode": net,
            "ExtraHosts": list(hosts),
            "Binds": [f"{(BIN / 'kubectl').resolve()}:/kubectl:ro", f"{folder}:/kube:ro"],
        },
    }
    return await run(engine, f"{net}-kubectl", config)
