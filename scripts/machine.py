"""What pods that run need of a machine: a Docker daemon, and what images are made of; for CI
FUSE, and the browser that reports are looked at with.

On Debian (and what is made of it), as root, all of it can be had: packages that are
missing are installed, and a daemon is started where none answers.  :func:`prepare` does
that for ``make demo``; for CI this is a program: ``python scripts/machine.py COMMAND …``
runs a command, tells the tests by ``COVE_REQUIRE`` what must not be missing, and ends the
daemon if it started it.  Needs nothing but Python.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn, Self

__all__ = ["BUSYBOX", "Engine", "MachineError", "answers", "cannot_install", "is_static", "prepare"]

SOCKET = "/var/run/docker.sock"
BUSYBOX = Path("/bin/busybox")
PATIENCE, LAST_CHANCE = 60.0, 5.0
# What CI insists on where everything can be had, and where not.
ALL = "kubectl,helm,docker,root,caddy,registry,chromium,fuse,rsync"
LEAST = "kubectl,helm"
_OPTIONAL = ("docker-registry",)
# What only tests of files need: Debian's packages, and the programs that they bring.
_FILES = {"fuse3": "fusermount3", "rsync": "rsync"}


class MachineError(Exception):
    """This machine cannot run pods, and says why."""


def answers(path: str = SOCKET) -> bool:
    """Whether a Docker daemon says that it is well."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
            probe.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in probe.recv(64)
        except OSError:
            return False


def is_static(program: Path) -> bool:
    """Whether a program is there and needs no libraries: an image can be made of it alone."""
    try:
        with program.open("rb") as file:
            return b"/ld-" not in file.read(4096)
    except OSError:
        return False


def cannot_install() -> str:
    """Why packages cannot be installed here; "" if they can."""
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return "this machine is no Debian"
    if os.geteuid() != 0:
        return "packages are installed by root only"
    return ""


def _which(program: str) -> str | None:
    """Where a program is, also one that only root has on the path."""
    return shutil.which(
        program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    )


def _cgroups() -> bool:
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[2] in ("cgroup", "cgroup2") for line in mounts)


def _apparmor() -> bool:
    """Whether the kernel has it switched on: Docker then loads a profile, by its tool."""
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().startswith("Y")
    except OSError:
        return False


def missing(engine: bool) -> list[str]:
    """The Debian packages that pods need and that are not here; ``engine``: one answers."""
    there = {
        "docker.io": engine or _which("dockerd"),
        "cgroupfs-mount": engine or _cgroups() or _which("cgroupfs-mount"),
        "apparmor": engine or not _apparmor() or _which("apparmor_parser"),
        "busybox-static": is_static(BUSYBOX),
        "iptables": _which("iptables-restore") and _which("iptables-save"),
        "iproute2": _which("ip"),
        "docker-registry": _which("docker-registry"),
    }
    return [package for package, found in there.items() if not found]


def install(packages: list[str]) -> None:
    """Install packages; raises MachineError with what apt-get said."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*apt, *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    # Lists may be stale or missing; with one source out of reach the others may do.
    updated = run("update")
    done = run("install", "--no-install-recommends", *packages)
    if done.returncode:
        said = "".join(d.stdout for d in (updated, done) if d.returncode)
        raise MachineError(f"apt-get cannot install {' '.join(packages)}:\n{_tail(said)}")


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.splitlines()[-lines:])


class Engine:
    """``with Engine() as engine``: a Docker daemon answers, one that runs or one of its own.

    ``own`` is what dockerd is told beside its socket.  A daemon started here is ended on
    leaving.  Raises :class:`MachineError`.
    """

    def __init__(self, socket: str = SOCKET, *own: str) -> None:
        self._socket = socket
        self._own = own
        self._log = Path()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not answers(self._socket):
            try:
                self._start()
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _start(self) -> None:
        daemon = _which("dockerd")
        if daemon is None:
            raise MachineError("there is no dockerd")
        if not _cgroups() and (mount := _which("cgroupfs-mount")):
            subprocess.run([mount], check=False)
        descriptor, name = tempfile.mkstemp(prefix="dockerd-", suffix=".log")
        self._log = Path(name)
        print(f"   starting dockerd; its log is {self._log}", flush=True)
        with os.fdopen(descriptor, "wb") as log:
            # A session of its own: who interrupts us leaves it to us to end it.
            self.process = subprocess.Popen(
                [daemon, "--host", f"unix://{self._socket}", *self._own],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        ended = False
        while not answers(self._socket):
            if not ended and self.process.poll() is not None:
                # Perhaps the package's service was faster, and is about to answer.
                ended, deadline = True, time.monotonic() + LAST_CHANCE
            if time.monotonic() > deadline:
                how = f"ended with {self.process.returncode}" if ended else "does not answer"
                raise MachineError(f"dockerd {how}:\n{self._said()}")
            time.sleep(0.1)

    def _said(self) -> str:
        return _tail(self._log.read_text(errors="replace"))

    def _end(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.unlink(missing_ok=True)


def prepare(stack: ExitStack, *, engine: bool = False) -> None:
    """Everything pods need, as long as ``stack`` is open; raises :class:`MachineError`.

    ``engine`` says that one answers already, wherever it is.
    """
    engine = engine or answers()
    lacking = missing(engine)
    why = cannot_install()
    if lacking and not why:
        print(f"   installing Debian's packages {', '.join(lacking)}", flush=True)
        install(lacking)
    elif needed := [p for p in lacking if p not in _OPTIONAL]:
        raise MachineError(f"what Debian calls {', '.join(needed)} is missing, and {why}")
    if os.geteuid() != 0:
        raise MachineError("only root can give services addresses")
    if not engine:
        stack.enter_context(Engine())


def browser() -> None:
    """Debian's Chromium, in which the tests look at reports; raises :class:`MachineError`."""
    if _which("chromium") is None:
        if why := cannot_install():
            raise MachineError(f"there is no chromium, and {why}")
        print("   installing Debian's package chromium", flush=True)
        install(["chromium"])


def mounting() -> None:
    """What mounted tests need; raises :class:`MachineError`."""
    lacking = [package for package, program in _FILES.items() if not _which(program)]
    if lacking:
        print(f"   installing Debian's packages {', '.join(lacking)}", flush=True)
        install(lacking)


def _stop(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def main(command: list[str]) -> int:
    """Run a command with an engine, if there can be one; its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    required = LEAST
    with ExitStack() as stack:
        if why := cannot_install():
            print(f"tests of pods that run are skipped where something is missing: {why}")
        else:
            required = ALL
            # What is required and missing fails its tests, each with a sentence.
            try:
                mounting()
            except MachineError as e:
                print(f"nothing can be mounted here: {e}", flush=True)
            try:
                prepare(stack)
            except MachineError as e:
                print(f"pods cannot run here: {e}", flush=True)
            try:
                browser()
            except MachineError as e:
                print(f"reports cannot be looked at here: {e}", flush=True)
        os.environ.setdefault("COVE_REQUIRE", required)
        print(f"required: {os.environ['COVE_REQUIRE']}", flush=True)
        running = subprocess.Popen(command)
        try:
            return running.wait()
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
