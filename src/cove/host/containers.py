"""What the engine is told of an application's container, as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cove.host.engine import HOST
from cove.host.references import ContainerParts, environment

__all__ = ["CONFIG", "Wanted", "changed", "configuration", "fingerprint"]

# What a persistent container was made from: a hash for each part of it.
CONFIG = "dev.cove.config-hash"
# The separator of lists inside containers, whatever this machine's is.
SEPARATOR = ":"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A container as it is declared, with what its references add.

    ``ports`` are ports of this machine by those inside, 0 for any free one; ``mounts`` files
    and folders of this machine by their place inside; ``volumes`` names by the same.
    """

    image: str
    command: Sequence[str] | None = None
    entrypoint: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[ContainerParts] = ()


def configuration(
    wanted: Wanted, *, name: str, network: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The body of the engine's request to create it.

    Whatever is mounted of this machine is read-only, the user's files and credentials
    alike; only volumes can be written.
    """
    mounts = dict(wanted.mounts)
    for part in wanted.parts:
        mounts.update(part.mounts)
    env = {**wanted.env, **environment((p.environment for p in wanted.parts), SEPARATOR)}
    host: dict[str, Any] = {
        "NetworkMode": network,
        "Binds": [
            *(f"{path}:{place}:ro" for place, path in mounts.items()),
            *(f"{volume}:{place}" for place, volume in wanted.volumes.items()),
        ],
        "PortBindings": {
            f"{inside}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(outside) if outside else ""}]
            for inside, outside in wanted.ports.items()
        },
        "Init": True,
    }
    if any(part.host_gateway for part in wanted.parts):
        host["ExtraHosts"] = [f"{HOST}:host-gateway"]
    config: dict[str, Any] = {
        "Image": wanted.image,
        "Env": [f"{key}={value}" for key, value in env.items()],
        "Labels": {**labels, CONFIG: fingerprint(wanted)},
        "ExposedPorts": {f"{inside}/tcp": {} for inside in wanted.ports},
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": [name]}}},
    }
    if wanted.command is not None:
        config["Cmd"] = list(wanted.command)
    if wanted.entrypoint is not None:
        config["Entrypoint"] = list(wanted.entrypoint)
    return config


def fingerprint(wanted: Wanted) -> str:
    """A hash for each part of a declaration, so that one can tell what has changed."""
    parts = {
        "image": wanted.image,
        "command": [wanted.command, wanted.entrypoint],
        "environment": sorted(wanted.env.items()),
        "ports": sorted(wanted.ports.items()),
        "mounts": sorted((place, str(path)) for place, path in wanted.mounts.items()),
        "volumes": sorted(wanted.volumes.items()),
        "references": [
            (sorted(p.environment.items()), sorted((k, str(v)) for k, v in p.mounts.items()))
            for p in wanted.parts
        ],
    }
    return " ".join(f"{part}={_hash(value)}" for part, value in parts.items())


def changed(before: str, now: str) -> list[str]:
    """The parts in which two fingerprints differ, in words for people."""
    old, new = (_parsed(text) for text in (before, now))
    return [part for part in new if old.get(part) != new[part]]


def _parsed(text: str) -> dict[str, str]:
    return dict(_pair(word) for word in text.split())


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def networks(parts: Iterable[ContainerParts]) -> list[str]:
    """The networks besides the application's that a container has to be on."""
    return list(dict.fromkeys(name for part in parts for name in part.networks))
