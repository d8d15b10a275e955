"""The images of the demonstration: busybox-static and the scripts of ``images/``.

Nothing is downloaded.  Each is made in the engine; one is pushed to the cluster's registry,
where the nodes fetch it.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from cove.node.docker import EngineAddress
from cove.node.docker.connection import DockerError, Engine
from machine import BUSYBOX

HERE = Path(__file__).resolve().parent / "images"
PREFIX = "cove.dev/demo"
TAG = "1"
APPLETS = "sh cat date echo hostname httpd id ls nc nslookup ps sleep wc wget"
# Name: what is served, and how it starts.
IMAGES = {
    "web": ("web", '["/serve", "8000"]'),
    "api": ("api", '["/serve", "8080"]'),
    "orders": ("orders", '["/serve", "8081"]'),
    "cache": ("cache", '["/keep"]'),
}


def _archive(folder: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "etc", "proc", "dev", "data"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
        tar.add(HERE / "serve", "serve")
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return file.getvalue()


async def build(address: EngineAddress, registry: str) -> dict[str, str]:
    """Make them; name → the image as pods name it.  ``registry`` "" has none."""
    made = {name: f"{PREFIX}/{name}:{TAG}" for name in IMAGES}
    await remove(address, registry)  # what another run has kept would stay without a name
    async with Engine(address) as engine:
        for name, (folder, entrypoint) in IMAGES.items():
            tar = _archive(HERE / folder)
            await engine.import_image(made[name], tar, f"ENTRYPOINT {entrypoint}")
        if registry:
            pushed = f"{registry}/shop/web"
            await engine.tag(made["web"], f"{pushed}:{TAG}")
            await engine.docker.images.push(pushed, tag=TAG)
            # So that the nodes have to fetch it.
            await engine.docker.images.delete(f"{pushed}:{TAG}")
            await engine.docker.images.delete(made["web"])
            port = registry.rpartition(":")[2]
            made["web"] = f"registry.cove.localhost:{port}/shop/web:{TAG}"
    return made


async def remove(address: EngineAddress, registry: str) -> None:
    """Take them back; those that are not there are fine."""
    names = [f"{PREFIX}/{name}:{TAG}" for name in IMAGES]
    if registry:
        port = registry.rpartition(":")[2]
        hosts = (registry, f"registry.cove.localhost:{port}")
        names += [f"{host}/shop/web:{TAG}" for host in hosts]
    async with Engine(address) as engine:
        # Those that the application built are named after their content.
        filters = {"label": ["dev.cove.app=shop"]}
        for image in await engine.docker.images.list(filters=filters):
            # One that was built anew has lost its name to the other.
            names += [tag for tag in image["RepoTags"] or () if not tag.startswith("<none>")]
        for name in names:
            try:
                await engine.docker.images.delete(name, force=True)
            except DockerError as e:
                if e.status != 404:
                    raise
