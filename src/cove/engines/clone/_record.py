"""What has been copied, in the clone's folder: a clone that ended early goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from cove.engines.clone._options import CloneError, CloneOptions
from cove.engines.home import ClusterFolder

__all__ = ["FILE", "Part", "Record"]

FILE = "clone.json"


@dataclass(slots=True)
class Part:
    """A collection, or what of it is in one namespace.

    ``token`` is that of the next page; ``redacted`` how many of ``objects`` were Secrets whose
    content was left out.
    """

    done: bool = False
    token: str = ""
    objects: int = 0
    redacted: int = 0


@dataclass(slots=True)
class Record:
    """Written after the objects that it tells of are on disk, never before."""

    context: str
    server: str
    what: dict[str, Any]
    finished: bool = False
    parts: dict[str, Part] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def save(self, folder: ClusterFolder) -> None:
        """Write it, all or nothing."""
        folder.write(FILE, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, folder: ClusterFolder) -> Record | None:
        """That of a folder, None if the cluster there is no clone.

        Raises CloneError for one that cannot be read.
        """
        text = folder.read(FILE)
        if text is None:
            return None
        try:
            doc = json.loads(text)
            doc["parts"] = {k: Part(**v) for k, v in doc["parts"].items()}
            return cls(**doc)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise CloneError(
                f"{folder.path / FILE} cannot be read: {e}; start anew after "
                f"`cove reset --name {folder.name}`"
            ) from e

    def check(self, folder: ClusterFolder, server: str, options: CloneOptions) -> None:
        """Raises CloneError unless a clone with ``options`` may go on from here."""
        again = f"take another --name, or start anew after `cove reset --name {folder.name}`"
        if self.finished:
            raise CloneError(
                f"the cluster {folder.name} is a whole clone of {self.context} already: {again}"
            )
        if self.server != server:
            raise CloneError(
                f"the cluster {folder.name} is the beginning of a clone of {self.context} at "
                f"{self.server}, not at {server}: {again}"
            )
        if self.what != options.what:
            told = ", ".join(f"{k}={v}" for k, v in self.what.items() if v) or "none"
            raise CloneError(
                f"the cluster {folder.name} is the beginning of a clone with other options "
                f"({told}): give the same, {again}"
            )
