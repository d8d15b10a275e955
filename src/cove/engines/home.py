"""Where clusters live on disk: ``$COVE_HOME``, one folder per cluster.

::

    $COVE_HOME/clusters/NAME/      0700
        cluster.json               what it was started with
        clone.json                 what has been copied, if it is a clone
        kubeconfig                 0600, admin
        ca.crt  ca.key  sa.key     the authority and the token key
        store.db                   objects, unless started with --in-memory
        server.log                 what the background process says
    containers.json            where what runs beside the pods is, and what is missing
    container/kubeconfig.yaml  for containers of this machine, once somebody asked for it
    door                       the address where such containers reach the server
    session                    the folder ends with the process that made it
        lock                       held by the process that serves the cluster; its pid inside
    starting                   held by who starts that process, until it serves
    $COVE_HOME/volumes/NAME.db     objects of clusters that were told to keep them there
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cove.kube.status import CoveError

__all__ = [
    "ClusterFolder",
    "HomeError",
    "InvalidNameError",
    "Settings",
    "UnknownClusterError",
    "clusters",
    "home",
]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class InvalidNameError(CoveError):
    """A cluster's name must be usable as a folder, a context and a DNS label."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'"{name}" is not a cluster name: use lower-case letters, digits and "-", at most 63, '
            "starting and ending with a letter or digit"
        )


class UnknownClusterError(CoveError):
    """No cluster of that name exists."""

    def __init__(self, name: str, known: list[str]) -> None:
        hint = (
            f"known: {', '.join(known)}" if known else "none exists yet: start one with `cove up`"
        )
        super().__init__(f'there is no cluster "{name}"; {hint}')


class HomeError(CoveError):
    """The folder that clusters live in, or a file in it, cannot be used."""


def home() -> Path:
    """``$COVE_HOME``, else the platform's data folder."""
    given = os.environ.get("COVE_HOME")
    if given:
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("cove"))


# How many writes a cluster remembers, and how much memory they may take.
HISTORY = 16_384
HISTORY_MIB = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a cluster is started with.

    ``port`` 0 means any free one; ``nodes`` 0 means none.  ``in_memory`` keeps nothing.
    ``history`` writes are remembered, as long as they fit into ``history_mib`` mebibytes.
    ``container_engine`` is what was asked for (docker, podman, none, an address); None leaves
    it to the environment.  ``ingress`` and ``registry`` say whether these run beside pods that
    run; names below ``domains`` (and ``cove.localhost``) are this machine's; ``mirrors`` are
    registries that ours fetches from, ``HOST=URL``.  ``door`` serves the API on the address
    that the engine's containers know this machine by, too.  ``ports`` are ports of this machine
    that lead to NodePorts, ``8080:30051``; ``registry_port`` is where the registry is to be.
    Without ``controllers`` nothing in the cluster changes by itself, and there are no nodes.
    """

    port: int = 0
    nodes: int = 1
    service_subnet: str = "10.96.0.0/12"
    pod_subnet: str = "10.244.0.0/16"
    enable_admission: tuple[str, ...] = field(default=())
    disable_admission: tuple[str, ...] = field(default=())
    in_memory: bool = False
    history: int = HISTORY
    history_mib: int = HISTORY_MIB
    container_engine: str | None = None
    ingress: bool = True
    registry: bool = True
    domains: tuple[str, ...] = field(default=())
    mirrors: tuple[str, ...] = field(default=())
    door: bool = False
    ports: tuple[str, ...] = field(default=())
    registry_port: int = 0
    controllers: bool = True

    def to_json(self) -> str:
        """For ``cluster.json``."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read ``cluster.json``; unknown keys of later versions are passed over.

        Raises ValueError if the text is none.
        """
        doc: dict[str, Any] = json.loads(text)
        if not isinstance(doc, dict):
            raise ValueError("it is not an object")
        known = {k: v for k, v in doc.items() if k in cls.__slots__}
        for key in ("enable_admission", "disable_admission", "domains", "mirrors", "ports"):
            known[key] = tuple(known.get(key, ()))
        return cls(**known)


class ClusterFolder:
    """The folder of one cluster.  Raises :class:`InvalidNameError`."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidNameError(name)
        self.name = name
        self.path = (root or home()) / "clusters" / name

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self.path / "kubeconfig"

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.path / "store.db"

    @property
    def log(self) -> Path:
        """What the background process writes."""
        return self.path / "server.log"

    @property
    def last_port(self) -> int:
        """The port the cluster was last served on, 0 if that is not known."""
        for line in (self.read("kubeconfig") or b"").decode(errors="replace").splitlines():
            key, _, value = line.strip().partition(": ")
            port = value.rpartition(":")[2]
            if key == "server" and port.isdigit():
                return int(port)
        return 0

    @property
    def addresses(self) -> dict[str, str]:
        """Where what runs beside the pods is (registry, http, https, resolver), as last known."""
        return dict(self._beside().get("addresses") or {})

    @property
    def missing(self) -> list[str]:
        """What this machine lacks for its pods, a sentence each, as last known."""
        return list(self._beside().get("missing") or ())

    def _beside(self) -> dict[str, Any]:
        try:
            found = json.loads(self.read("containers.json") or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def pods_run(self) -> bool:
        """Whether its pods are containers, as last known."""
        return bool(self._beside())

    @property
    def door(self) -> tuple[str, int] | None:
        """Where containers reach the server, as last known."""
        text = (self.read("door") or b"").decode(errors="replace").strip()
        host, _, port = text.rpartition(":")
        return (host, int(port)) if port.isdecimal() else None

    def use_volume(self, name: str) -> None:
        """Keep the objects in the volume of that name instead of the folder.

        Raises InvalidNameError, and HomeError if there are objects in the folder already.
        """
        if not _NAME.fullmatch(name):
            raise InvalidNameError(name)
        if self.store.exists() and not self.store.is_symlink():
            raise HomeError(
                f'the cluster "{self.name}" keeps its objects in {self.store}, not in the volume '
                f'"{name}": leave the volume\'s name out, or `cove reset -n {self.name}`'
            )
        volume = self.path.parent.parent / "volumes" / f"{name}.db"
        volume.parent.mkdir(mode=0o700, exist_ok=True)
        self.store.unlink(missing_ok=True)
        self.store.symlink_to(volume)

    def hold_volume(self) -> int | None:
        """Keep others from the volume; a descriptor to close, None if there is no volume.

        Raises HomeError while another cluster has it.
        """
        if not self.store.is_symlink():
            return None
        lock = self.store.resolve().with_suffix(".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        if not _locked(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            raise HomeError(f"the volume {lock.with_suffix('.db')} is in use by another cluster")
        return descriptor

    @property
    def exists(self) -> bool:
        """Whether the cluster was ever started and not reset since."""
        return (self.path / "cluster.json").exists()

    def create(self) -> None:
        """Make the folder, for its owner alone.  Raises :class:`HomeError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as e:
            raise HomeError(
                f"the folder {self.path} cannot be made: {e.strerror}; set COVE_HOME to a folder "
                "that can be written"
            ) from e

    @property
    def settings(self) -> Settings:
        """What the cluster was last started with; the defaults if it never was.

        Raises :class:`HomeError` if that cannot be read.
        """
        file = self.path / "cluster.json"
        try:
            return Settings.from_json(file.read_text())
        except FileNotFoundError:
            return Settings()
        except (OSError, ValueError) as e:
            raise HomeError(
                f"{file} cannot be read: {e}; remove it to start the cluster with the defaults"
            ) from e

    def save(self, settings: Settings) -> None:
        """Remember what the cluster is started with."""
        self.write("cluster.json", settings.to_json().encode())

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the folder for its owner alone, all or nothing."""
        target = self.path / name
        draft = self.path / f".{name}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        draft.replace(target)

    def read(self, name: str) -> bytes | None:
        """A file of the folder, None if it is not there."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def acquire(self) -> int | None:
        """Take the lock for this process; its descriptor, None if another process serves.

        The lock is the kernel's: it is gone with the process, however that ended, so a
        stale one cannot be left behind.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        while not _locked(descriptor, fcntl.LOCK_EX):
            if not _locked(descriptor, fcntl.LOCK_SH):
                os.close(descriptor)
                return None
            # Only somebody who asks whether the cluster runs: gone in a moment.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(0.001)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def serving(self) -> int | None:
        """The pid of the process that serves the cluster, None if none does."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode().strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(descriptor)
        return None

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Keep others from starting the cluster meanwhile; waits for who is at it already."""
        descriptor = os.open(self.path / "starting", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clusters(root: Path | None = None) -> list[ClusterFolder]:
    """Every cluster that exists, by name."""
    base = (root or home()) / "clusters"
    if not base.is_dir():
        return []
    found = []
    for entry in sorted(base.iterdir()):
        if _NAME.fullmatch(entry.name):
            folder = ClusterFolder(entry.name, root)
            if folder.exists:
                found.append(folder)
    return found
