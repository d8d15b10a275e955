"""NativeK3s: the program ``k3s`` of this machine as a child of this process.

::

    $COVE_HOME/k3s/NAME/               as for containers; see cove.engines.k3s.cluster
        data/                          k3s' own, gone with the session …
        kubelet/
    $COVE_HOME/k3s-volumes/VOLUME/data … unless there is a data volume

Linux, root, one node, and one k3s at a time: containerd's sockets have one place on a machine.
What k3s starts lives on when it ends (pods are to survive an upgrade); here it does not: every
process that has the cluster's mark in its environment goes, with all it started, and every
mount below its folders.

Source: https://docs.k3s.io/cli/server, https://docs.k3s.io/upgrades/killall
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cove.client import SystemClock
from cove.engines._work import finished
from cove.engines.cluster import Cluster, ClusterOptions, EngineName, Health, OptionError
from cove.engines.credentials import HOST_OF_CONTAINERS
from cove.engines.home import ClusterFolder, home
from cove.engines.k3s import spec
from cove.engines.k3s.errors import K3sError
from cove.engines.k3s.locks import Locked
from cove.engines.k3s.looking import Looking
from cove.engines.k3s.registries import registries
from cove.engines.variants import Variants, publish
from cove.kube.status import CoveError
from cove.node.child import Child, ChildError

if TYPE_CHECKING:
    from cove.client import Client, Clock

__all__ = ["MARK", "NativeK3s", "arguments", "obstacle"]

POLL = 0.1
# Seconds that a server has to end by itself.
GRACE = 10.0
# In the environment of k3s and of all it starts: whose it is.
MARK = "COVE_K3S"
# Where another k3s of this machine answers.
CONTAINERD = Path("/run/k3s/containerd/containerd.sock")
PROC = Path("/proc")


def obstacle() -> str:
    """Why k3s cannot run natively here, with what to do; "" if it can."""
    if sys.platform != "linux":
        return "k3s runs natively on Linux alone: take it in containers"
    if os.geteuid() != 0:
        return "k3s needs root to run natively: run this as root, or take it in containers"
    if shutil.which("k3s") is None:
        return "there is no program k3s on PATH: https://docs.k3s.io/installation"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(CONTAINERD))
        except OSError:
            return ""
    return (
        f"another k3s runs on this machine ({CONTAINERD} answers): end it, or use it with the "
        "engine existing and KUBECONFIG=/etc/rancher/k3s/k3s.yaml"
    )


def arguments(name: str, options: ClusterOptions, folder: Path, data: Path, port: int) -> list[str]:
    """The command line, without the program; extra arguments are last."""
    k3s = options.k3s
    names = dict.fromkeys(["127.0.0.1", "localhost", name, HOST_OF_CONTAINERS])
    parts = dict.fromkeys(
        [*spec.DISABLED, *(spec.PARTS.get(p, p) for p in options.disable if p != "registry")]
    )
    own = folder / "registries.yaml"
    return [
        "server",
        f"--data-dir={data}",
        f"--https-listen-port={port}",
        f"--write-kubeconfig={folder / 'cluster' / 'kubeconfig.yaml'}",
        "--write-kubeconfig-mode=0600",
        f"--node-name={name}",
        f"--private-registry={own}",
        f"--kubelet-arg=root-dir={folder / 'kubelet'}",
        *(f"--tls-san={each}" for each in names),
        f"--cluster-cidr={options.pod_subnet or spec.POD_SUBNET}",
        f"--service-cidr={options.service_subnet or spec.SERVICE_SUBNET}",
        *([f"--cluster-dns={k3s.cluster_dns}"] if k3s.cluster_dns else ()),
        *([f"--flannel-backend={k3s.flannel_backend}"] if k3s.flannel_backend else ()),
        *(f"--disable={part}" for part in parts),
        *([f"--kube-proxy-arg=proxy-mode={k3s.proxy_mode}"] if k3s.proxy_mode else ()),
        *options.extra_args,
    ]


class NativeK3s(Cluster):
    """See the module and :class:`Cluster`.

    Entering raises OptionError for what it cannot do, K3sError with k3s' last words.
    """

    engine: EngineName = "k3s"

    def __init__(
        self,
        name: str,
        options: ClusterOptions,
        *,
        log: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        ClusterFolder(name)  # raises InvalidNameError
        spec.check(options)
        if options.agents:
            raise OptionError(
                f"agents is {options.agents}: k3s has one node when it runs natively, this machine"
            )
        if options.lifetime == "persistent":
            raise OptionError(
                "lifetime persistent: a native k3s ends with its session; k3s' own service stays "
                "(https://docs.k3s.io/installation), and the engine existing uses it"
            )
        if options.data_volume and not spec.VOLUME.fullmatch(options.data_volume):
            raise OptionError(f'data_volume "{options.data_volume}" is no name of a volume')
        self.name = name
        self.options = options
        self.variants = Variants(home() / "k3s" / name)
        self._log = log
        self._clock: Clock = clock or SystemClock()
        self._looking = Looking(self.variants)
        self._stack = AsyncExitStack()
        self._child: Child | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``; k3s itself listens on every address of the machine."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def client(self) -> Client:
        """An administrator's client; another one when k3s has written new credentials."""
        return self._looking.client

    @property
    def kubeconfig_path(self) -> Path:
        """The variant for this machine."""
        return self.variants.local

    async def container_kubeconfig(self, network: str) -> Path:
        """See :class:`Cluster`; good in any network whose host-gateway is this machine."""
        return self.variants.container.parent

    @property
    def container_networks(self) -> tuple[str, ...]:
        """None: k3s listens on all addresses of the machine."""
        return ()

    @property
    def properties(self) -> Mapping[str, str]:
        """Engine, program, process, folder."""
        child = self._child
        return {
            "engine": self.engine,
            "program": shutil.which("k3s") or "",
            "pid": str(child.pid) if child is not None else "",
            "folder": str(self.variants.folder),
        }

    async def health(self) -> Health:
        """Look now: the process, the kubeconfig, the node."""
        try:
            return await self._look()
        except CoveError as e:
            return Health(False, str(e))

    async def __aenter__(self) -> Self:
        why = await asyncio.to_thread(obstacle)
        if why:
            raise OptionError(f"the k3s cluster {self.name}: {why}")
        self._tell()
        async with AsyncExitStack() as stack:
            self._lock(stack)
            stack.push_async_callback(self._looking.close)
            stack.push_async_callback(finished, self._remove_folder)
            data = await finished(self._make_folder)
            self._port = self.options.api_port or _free_port()
            stack.push_async_callback(self._end)
            self._child = await self._start(data)
            await self._until_ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _tell(self) -> None:
        """What of the options needs a container of its own."""
        options, k3s = self.options, self.options.k3s
        asked = {
            "version": options.version,
            "images": options.images,
            "domains": options.domains,
            "registry": k3s.registry,
            "ingress": k3s.ingress,
            "ports": k3s.ports,
            "resolver": k3s.resolver,
            "airgap": k3s.airgap,
            "load": k3s.load,
        }
        left = [name for name, value in asked.items() if value]
        if left:
            self._log(f"k3s runs natively: {', '.join(left)} are for k3s in containers")

    def _lock(self, stack: AsyncExitStack) -> None:
        folder = self.variants.folder
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        use = stack.enter_context(Locked(folder.parent / f".{self.name}.lock"))
        if not use.acquire(fcntl.LOCK_EX):
            raise OptionError(
                f'the k3s cluster "{self.name}" is in use by another session: choose another name'
            )
        if (folder / "engine").exists():
            raise OptionError(
                f'the k3s cluster "{self.name}" runs in containers: choose another name, or remove '
                f"it with `cove reset --name {self.name}`"
            )

    def _make_folder(self) -> Path:
        """Folders and files are there before k3s is; what a crash left is not."""
        folder = self.variants.folder
        _end_marked(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self.variants.prepare()
        data = folder / "data"
        if self.options.data_volume is not None:
            kept = home() / "k3s-volumes" / (self.options.data_volume or f"native-{self.name}")
            data = kept / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The option names a file, so there is one; nothing of /etc/rancher is read.
        options = self.options
        publish(folder / "registries.yaml", registries(self.name, options) or "{}\n")
        return data

    async def _start(self, data: Path) -> Child:
        program = shutil.which("k3s")
        assert program is not None, "obstacle() has looked"
        folder = self.variants.folder
        command = [program, *arguments(self.name, self.options, folder, data, self._port)]
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("K3S_", "KUBECONFIG"))},
            MARK: str(folder),
            "K3S_TOKEN": _token(data),
        }
        try:
            return await Child.start(
                "k3s",
                command,
                folder=folder,
                environment=environment,
                line=lambda line: self._log(f"{self.name}: {line}"),
            )
        except ChildError as e:
            raise K3sError(str(e)) from e

    async def _until_ready(self) -> None:
        assert self._child is not None
        patience = self.options.k3s.ready_timeout
        deadline = self._clock.monotonic() + patience
        said = ""
        while True:
            health = await self._look()
            if health.healthy:
                return
            late = self._clock.monotonic() >= deadline
            if self._child.ended or late:
                words = await self._last_words()
            if self._child.ended:
                raise K3sError(f"{self._child.epitaph()}; it said last\n{words}")
            if late:
                raise K3sError(
                    f"the cluster {self.name} is not ready after {patience:g} s: "
                    f"{health.reason}; k3s said last\n{words}"
                )
            if health.reason != said:
                said = health.reason
                self._log(f"{self.name} is starting: {said}")
            await self._clock.sleep(POLL)

    async def _last_words(self) -> str:
        """What k3s said last; all of it, if it has ended."""
        assert self._child is not None
        if self._child.ended:
            # What it has started may still have its standard error.
            await finished(_end_marked, self.variants.folder)
            await self._child.wait()
        return "\n".join(f"  {line}" for line in self._child.lines)

    async def _look(self) -> Health:
        if self._child is not None and self._child.ended:
            return Health(False, self._child.epitaph())
        inside = f"https://{HOST_OF_CONTAINERS}:{self._port}"
        return await self._looking.look(local=self.url, container=inside, nodes=1)

    async def _end(self) -> None:
        """Nothing that k3s started runs any more, nothing is mounted."""
        child = self._child
        try:
            if child is not None and not child.ended:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout(GRACE):
                        # Its pipes are no signal: what it started may have them for ever.
                        while not child.ended:
                            await self._clock.sleep(POLL)
        finally:
            await finished(_end_marked, self.variants.folder)
            if child is not None:
                await child.stop(GRACE)

    def _remove_folder(self) -> None:
        shutil.rmtree(self.variants.folder, ignore_errors=True)


def _free_port() -> int:
    """One that nobody has now; who takes it before k3s does is told by k3s' end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _token(data: Path) -> str:
    """Kept as long as the data, which remembers it."""
    file = data.parent / "token"
    with suppress(FileNotFoundError):
        return file.read_text().strip()
    token = secrets.token_hex(24)
    publish(file, f"{token}\n")
    return token


def _end_marked(folder: Path) -> None:
    """Kill what has the cluster's mark, with all it started; unmount what is below the folder."""
    for _ in range(20):
        pids = _marked(folder)
        if not pids:
            break
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    # The innermost first.
    for point in sorted(_mounts(folder), reverse=True):
        _unmount(point)


def _marked(folder: Path) -> set[int]:
    """Processes with the mark, and their descendants: containers do not inherit it."""
    mark = f"{MARK}={folder}".encode()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] in "ZX":
                continue
            parents[int(entry.name)] = int(fields[1])
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            continue  # it has ended
    for pid in parents:
        line, at = [], pid
        while at in parents and at not in found:
            line.append(at)
            at = parents[at]
        if at in found:
            found.update(line)
    return found - {os.getpid()}


def _mounts(folder: Path) -> Iterator[str]:
    try:
        lines = (PROC / "self/mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        point = line.split()[4].encode().decode("unicode_escape")
        if Path(point).is_relative_to(folder):
            yield point


def _unmount(point: str) -> None:
    """Detach it, even if somebody still has a file open there."""
    import ctypes

    detach = 2  # MNT_DETACH
    ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(point), detach)
