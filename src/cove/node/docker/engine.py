"""Which container engine: what somebody said, else the first one that answers.

In this order: the flag, ``COVE_CONTAINER_ENGINE``, ``DOCKER_HOST``, then the sockets that
engines have by default on this platform.  Who names one gets that one or an error; only
the default sockets are tried in turn.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cove.kube.status import CoveError

__all__ = ["NONE", "EngineAddress", "EngineError", "candidates", "find_engine", "reachable"]

NONE = ("none", "simulated")
VARIABLE = "COVE_CONTAINER_ENGINE"
CONNECT_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine is, and who said so.

    ``url`` is ``unix:///path``, ``tcp://host:port`` or ``http(s)://host:port``; ``kind``
    docker, podman, or "" where only the answer will tell.
    """

    url: str
    source: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.url} ({self.source})"


class EngineError(CoveError):
    """The container engine that was asked for cannot be used."""


def extra_installed() -> bool:
    """Whether the libraries of ``cove[containers]`` are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("aiodocker", "dns", "h2"))


def _docker(source: str) -> EngineAddress:
    return EngineAddress("unix:///var/run/docker.sock", source, "docker")


def _podman(environ: Mapping[str, str], platform: str, uid: int) -> Iterator[tuple[str, str]]:
    """(socket, what it is)."""
    if platform == "darwin":
        home = environ.get("HOME", "")
        path = f"{home}/.local/share/containers/podman/machine/podman.sock"
        yield f"unix://{path}", "the socket of the Podman machine"
        return
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield f"unix://{runtime}/podman/podman.sock", "Podman's socket in XDG_RUNTIME_DIR"
    else:
        yield f"unix:///run/user/{uid}/podman/podman.sock", "Podman's default socket"
    if uid == 0:
        yield "unix:///run/podman/podman.sock", "the socket of root's Podman"


def candidates(
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    uid: int | None = None,
) -> list[EngineAddress]:
    """The default sockets of this platform, in the order they are tried."""
    environ = os.environ if environ is None else environ
    uid = os.getuid() if uid is None else uid
    podman = [EngineAddress(u, s, "podman") for u, s in _podman(environ, platform, uid)]
    return [_docker("Docker's default socket"), *podman]


def reachable(address: EngineAddress) -> str:
    """ "" if somebody answers there, else why not."""
    parts = urlsplit(address.url)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(CONNECT_TIMEOUT)
                probe.connect(parts.path)
        else:
            port = parts.port or (2376 if parts.scheme == "https" else 2375)
            socket.create_connection((parts.hostname or "", port), CONNECT_TIMEOUT).close()
    except FileNotFoundError:
        return "there is no such socket"
    except OSError as e:
        return (e.strerror or str(e)).lower()
    return ""


def _advice(address: EngineAddress, platform: str) -> str:
    podman = (
        "`podman machine start`"
        if platform == "darwin"
        else "`systemctl --user start podman.socket`"
    )
    docker = "Docker Desktop" if platform == "darwin" else "`systemctl start docker`"
    if address.kind == "podman":
        return f"start Podman with {podman}"
    if address.kind == "docker":
        return f"start Docker with {docker}"
    return f"start the engine ({docker} or {podman})"


def _named(text: str, source: str, defaults: list[EngineAddress]) -> list[EngineAddress]:
    """What a flag or variable means; raises :class:`EngineError`."""
    if text in ("docker", "podman"):
        return [
            EngineAddress(a.url, f"{source}: {a.source}", a.kind)
            for a in defaults
            if a.kind == text
        ]
    if text.startswith("/"):
        text = f"unix://{text}"
    if text.partition("://")[0] in ("unix", "tcp", "http", "https") and "://" in text:
        return [EngineAddress(text, source)]
    raise EngineError(
        f'"{text}", which {source} says, is no container engine: say docker, podman, auto, none, '
        "or an address such as unix:///var/run/docker.sock"
        f" ({VARIABLE}=none has pods simulated)"
    )


def find_engine(
    flag: str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    uid: int | None = None,
    probe: Callable[[EngineAddress], str] = reachable,
    installed: Callable[[], bool] = extra_installed,
) -> EngineAddress | None:
    """The engine to use, None for none: pods are simulated then.

    ``flag`` None or ``auto`` leaves it to the environment; raises :class:`EngineError` for
    one that was named and does not answer.  Without the extra ``cove[containers]`` there is
    none, and a named one is an error.
    """
    environ = os.environ if environ is None else environ
    defaults = candidates(environ, platform=platform, uid=uid)
    named: list[EngineAddress] = []
    if flag and flag != "auto":
        source, text = "--container-engine", flag
    elif environ.get(VARIABLE) and environ[VARIABLE] != "auto":
        source, text = VARIABLE, environ[VARIABLE]
    elif environ.get("DOCKER_HOST"):
        source, text = "DOCKER_HOST", environ["DOCKER_HOST"]
    else:
        if not installed():
            return None
        return next((a for a in defaults if not probe(a)), None)
    if text in NONE:
        return None
    named = _named(text, source, defaults)
    if not installed():
        raise EngineError(
            f"{source} says {text}, but cove's part for containers is not installed: "
            f"pip install 'cove[containers]', or say {VARIABLE}=none to have pods simulated"
        )
    problems = []
    for address in named:
        why = probe(address)
        if not why:
            return address
        problems.append(f"{address.url}: {why}")
    raise EngineError(
        f"no container engine answers at {'; '.join(problems)} ({named[0].source}); "
        f"{_advice(named[0], platform)}, or say {VARIABLE}=none to have pods simulated"
    )
