"""Images of a k3s cluster: its own, and those that its nodes are given without a registry."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from typing import IO, TYPE_CHECKING

from cove.engines.k3s.errors import K3sError

if TYPE_CHECKING:
    from cove.node.docker.connection import Engine

__all__ = ["have", "load"]

PIECE = 1024 * 1024
# Where an archive is in a node until containerd has read it.
ARCHIVE = "/tmp/cove-image.tar"
# Removed whatever becomes of it.
IMPORT = f"""\
k3s ctr --namespace k8s.io images import --all-platforms {ARCHIVE}
code=$?
rm -f {ARCHIVE}
exit $code
"""


async def have(engine: Engine, image: str, log: Callable[[str], None]) -> None:
    """Fetch an image unless the engine has it; raises K3sError with what can be done."""
    from cove.node.docker.connection import DockerError, EngineDownError

    if await engine.image(image) is not None:
        return
    log(f"fetching the image {image}")
    why = "it was not there afterwards"
    try:
        await engine.pull(image)
    except (DockerError, EngineDownError) as e:
        why = str(e)
    if await engine.image(image) is None:
        raise K3sError(
            f"the image {image} is not in {engine.address}, and could not be fetched: {why}; "
            f"try `{engine.kind} pull {image}` where there is a network, or name an image that "
            'is there: images={"server": …}'
        )


async def load(
    engine: Engine, nodes: Iterable[str], images: Iterable[str], log: Callable[[str], None]
) -> None:
    """Give nodes images that the engine has, under the names they have there.

    ``nodes`` are containers that run k3s.  Raises K3sError.
    """
    nodes = list(nodes)
    for image in images:
        if await engine.image(image) is None:
            raise K3sError(
                f"the image {image} is to be loaded, and is not in {engine.address}: build or "
                "pull it first"
            )
        # On this machine's disk: images may be larger than its memory.
        with tempfile.TemporaryFile() as file:
            async for piece in engine.save(image):
                file.write(piece)
            for node in nodes:
                log(f"loading {image} into {node}")
                await engine.put_stream(node, _as_tar(file))
                code, text = await engine.run(node, ["/bin/sh", "-c", IMPORT])
                if code:
                    raise K3sError(f"{node} does not take the image {image} ({code}): {text}")


async def _as_tar(file: IO[bytes]) -> AsyncIterator[bytes]:
    """A tar that holds the file as :data:`ARCHIVE`, piece by piece."""
    entry = tarfile.TarInfo(ARCHIVE.lstrip("/"))
    entry.size, entry.mode = file.seek(0, 2), 0o600
    file.seek(0)
    yield entry.tobuf(tarfile.PAX_FORMAT)
    while piece := file.read(PIECE):
        yield piece
    yield bytes(-entry.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
