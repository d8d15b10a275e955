"""What all tests share: clusters, real clients, and prerequisites that CI insists on."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import sysconfig
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from hypothesis import settings
from tests import elsewhere

from cove.client._sharing import Sharing
from cove.engines.embedded import EmbeddedCluster
from sockets import pytest_runtest_teardown

# pytest finds its hooks by their names.
__all__ = ["pytest_runtest_teardown"]

# How long an example takes says how busy the machine is.
settings.register_profile("cove", deadline=None)
settings.load_profile("cove")

BIN = Path(sysconfig.get_path("scripts"))


def _present(capability: str) -> bool:
    if capability == "kubectl":
        return (BIN / "kubectl").exists()
    if capability == "helm":
        return importlib.util.find_spec("helm_python") is not None
    if capability == "docker":
        # Images are made of it, so that nothing is downloaded.
        return Path("/bin/busybox").exists() and _answers("/var/run/docker.sock")
    if capability == "root":
        return os.geteuid() == 0 and shutil.which("iptables-restore") is not None
    if capability == "caddy":
        return (BIN / "caddy").exists()
    if capability == "registry":
        return shutil.which("docker-registry") is not None
    if capability == "chromium":
        driver = importlib.util.find_spec("playwright")
        return driver is not None and shutil.which("chromium") is not None
    if capability == "fuse":
        library = importlib.util.find_spec("mfusepy") is not None
        return library and Path("/dev/fuse").exists() and shutil.which("fusermount3") is not None
    if capability == "rsync":
        return shutil.which("rsync") is not None
    if capability == "k3s":
        # Its real image, which `make test-k3s` has fetched.
        return os.environ.get("COVE_TEST_K3S") == "1"
    raise ValueError(f"unknown capability {capability!r}")


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose prerequisite is missing; fail it where COVE_REQUIRE names that."""
    elsewhere.setup(item)
    required = set(filter(None, os.environ.get("COVE_REQUIRE", "").split(",")))
    for mark in item.iter_markers("requires"):
        for capability in mark.args:
            if _present(capability):
                continue
            if capability in required:
                pytest.fail(f"{capability} is missing and COVE_REQUIRE names it", pytrace=False)
            pytest.skip(f"{capability} is missing")


def pytest_configure(config: pytest.Config) -> None:
    """Have everything that is not told otherwise find the cluster elsewhere."""
    if elsewhere.ELSEWHERE:
        elsewhere.everywhere()


@pytest.fixture(autouse=True)
def no_containers_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of the command line runs containers where it finds an engine."""
    monkeypatch.setenv("COVE_CONTAINER_ENGINE", "none")


@pytest.fixture(autouse=True)
def nobody_changes_what_is_shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Informers share parts of objects: one controller's change would be everybody's."""
    made: list[Sharing] = []
    initialize = Sharing.__init__

    def remember(sharing: Sharing) -> None:
        initialize(sharing)
        made.append(sharing)

    monkeypatch.setattr(Sharing, "__init__", remember)
    yield
    for sharing in made:
        for known in (sharing._young, sharing._old):
            changed = [text for text, part in known.items() if orjson.dumps(part) != text]
            assert not changed, "a part of an informer's object was changed"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


async def execute(*command: str, stdin: str = "", **env: str) -> Done:
    """Run a program to its end, with more environment."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env},
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


class Kubectl:
    """The real kubectl, pointed at a cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Standard output; fails the test if kubectl fails."""
        done = await self.attempt(*arguments, stdin=stdin)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}"
        return done.out

    async def attempt(self, *arguments: str, stdin: str = "") -> Done:
        """How it ended, whatever that was."""
        return await execute(
            str(BIN / "kubectl"), *arguments, stdin=stdin, KUBECONFIG=str(self.kubeconfig)
        )


@pytest.fixture
async def api() -> AsyncIterator[EmbeddedCluster]:
    """A server without controllers and nodes, pods created without a service account."""
    async with elsewhere.serving(
        nodes=0, controllers=False, disable_admission=["ServiceAccount"]
    ) as cluster:
        yield cluster


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    """A whole cluster with two nodes."""
    async with elsewhere.serving(nodes=2) as running:
        yield running


@pytest.fixture
def kubectl(cluster: EmbeddedCluster) -> Kubectl:
    """kubectl for the whole cluster."""
    return Kubectl(cluster.kubeconfig_path)
