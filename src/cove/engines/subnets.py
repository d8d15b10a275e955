"""Subnets for clusters whose pods run: no two on one machine can have the same."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import IO, Any, Self

from cove.engines.home import ClusterFolder, Settings, clusters
from cove.kube.status import CoveError
from cove.node.docker import EngineError, find_engine

__all__ = ["planned", "release"]

POD_SUBNETS = [f"10.{244 + n}.0.0/16" for n in range(12)] + [
    f"10.{n}.0.0/16" for n in range(200, 244)
]
# /16 each, out of 10.96.0.0/12 and what follows it.
SERVICE_SUBNETS = ["10.96.0.0/12"] + [f"10.{n}.0.0/16" for n in range(112, 200)]


def _routes() -> list[IPv4Network]:
    """The networks this machine has routes to, but for the default one."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        address = int.from_bytes(bytes.fromhex(destination)[::-1], "big")
        bits = int.from_bytes(bytes.fromhex(mask)[::-1], "big").bit_count()
        if bits:
            found.append(ip_network((address, bits)))
    return [n for n in found if isinstance(n, IPv4Network)]


def _free(wanted: str, choices: list[str], taken: list[IPv4Network]) -> str:
    """The wanted subnet, or where it was not chosen (it is the first choice) a free one."""
    if wanted != choices[0]:
        return wanted
    for text in choices:
        subnet = IPv4Network(text)
        if not any(subnet.overlaps(other) for other in taken):
            return text
    return wanted


# {"pid", "since" (epoch), "folder" ("" for none), "subnets"}
_Entry = dict[str, Any]


class _Reservations:
    """Subnets that clusters have chosen and no route shows: not yet, or not now.

    A file of this user, read and written under a lock.  An entry counts for a minute while
    who made it is alive, for it is starting; that of a cluster in a folder counts as long as
    the folder is there, for it may come back, whatever home it is in.  Where there can be no
    such file, nothing is reserved.
    """

    SECONDS = 60

    def __init__(self) -> None:
        self._path = Path(tempfile.gettempdir()) / f"cove-addresses-{os.getuid()}.json"
        self._file: IO[str] | None = None
        self._entries: list[_Entry] = []

    @property
    def taken(self) -> list[IPv4Network]:
        """The subnets of others."""
        return [IPv4Network(text) for entry in self._entries for text in entry["subnets"]]

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            self._file = os.fdopen(descriptor, "r+")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            entries = json.loads(self._file.read() or "[]")
            self._entries = [e for e in entries if isinstance(e, dict) and self._counts(e)]
        except (OSError, ValueError, KeyError, TypeError):
            self._entries = []
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def _counts(self, entry: dict[str, Any]) -> bool:
        folder = entry["folder"]
        if folder and (Path(folder) / "cluster.json").exists():
            return True
        if not 0 <= time.time() - entry["since"] <= self.SECONDS:
            return False
        try:
            os.kill(entry["pid"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def drop(self, settings: Settings) -> None:
        """Forget what this process has chosen, but for a cluster that may come back."""
        mine = _subnets(settings)
        kept = []
        for entry in self._entries:
            if entry["pid"] != os.getpid() or entry["subnets"] != mine:
                kept.append(entry)
            elif entry["folder"]:
                # From now on it counts as long as the folder is there, and no longer.
                kept.append({**entry, "since": 0.0})
        self._write(kept)

    def keep(self, settings: Settings, folder: ClusterFolder | None) -> Settings:
        """Note what was chosen."""
        mine: _Entry = {
            "pid": os.getpid(),
            "since": time.time(),
            "folder": str(folder.path) if folder is not None else "",
            "subnets": _subnets(settings),
        }
        self._write([*self._entries, mine])
        return settings

    def _write(self, entries: list[_Entry]) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(json.dumps(entries))


def _subnets(settings: Settings) -> list[str]:
    return [settings.pod_subnet, settings.service_subnet]


def release(settings: Settings) -> None:
    """Those that this process has chosen are in use, or will not be."""
    with _Reservations() as reserved:
        reserved.drop(settings)


def planned(settings: Settings, folder: ClusterFolder | None) -> Settings:
    """The settings with subnets that nobody else on this machine has.

    Pods that run have addresses of the machine: no two clusters can have the same.  A
    cluster that exists keeps what it has, and what was asked for stays what it is.
    """
    if not settings.nodes or (folder is not None and folder.exists):
        return settings
    try:
        if find_engine(settings.container_engine) is None:
            return settings
    except EngineError:
        return settings  # whoever starts the cluster says so
    with _Reservations() as reserved:
        return reserved.keep(_chosen(settings, folder, reserved.taken), folder)


def _chosen(settings: Settings, folder: ClusterFolder | None, taken: list[IPv4Network]) -> Settings:
    taken = [*taken, *_routes()]
    for other in clusters():
        if folder is None or other.name != folder.name:
            try:
                known = other.settings
            except CoveError:
                continue
            taken += [IPv4Network(known.pod_subnet), IPv4Network(known.service_subnet)]
    return replace(
        settings,
        pod_subnet=_free(settings.pod_subnet, POD_SUBNETS, taken),
        service_subnet=_free(settings.service_subnet, SERVICE_SUBNETS, taken),
    )
