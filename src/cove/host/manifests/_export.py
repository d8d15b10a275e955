"""Export: the documents of manifests, to be deployed elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cove.host.manifests._sources import read

__all__ = ["export"]


async def export(
    path: str | os.PathLike[str], *, kubectl: Path | None = None
) -> list[dict[str, Any]]:
    """The objects of a file, directory or kustomization in their order; raises ManifestError."""
    return [document.obj for document in (await read(path, kubectl=kubectl)).documents]
