"""Where the clusters of tests come from: this process, or another one by one variable.

``COVE_TEST_ENGINE=existing`` has the tests of host, testing, dev, operator and files run on the
engine ``existing``: the servers are in another process (:mod:`tests.holder`), and the code under
test knows their kubeconfigs and nothing else.  ``k3s`` has applications, loops and test runs make
their own clusters of that engine; tests that need an empty one each are skipped.

A test that can be about the embedded engine only says so, and why: ``@pytest.mark.embedded("…")``.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from tests.server.streams.local_kubelet import LocalKubelet

from cove.client import Client, Transport
from cove.engines.cluster import ClusterOptions
from cove.engines.embedded import embedded
from cove.engines.existing import ExistingCluster
from cove.engines.select import chosen

__all__ = [
    "ELSEWHERE",
    "Elsewhere",
    "answered",
    "choose_engine",
    "forked",
    "outstanding",
    "serving",
    "setup",
]

VARIABLE = "COVE_TEST_ENGINE"
ENGINE = chosen(os.environ.get(VARIABLE) or "embedded")
ELSEWHERE = ENGINE != "embedded"
# Seconds until a request is taken for one that is not to be answered.
HANGS = 1.0
# Seconds for an answer of the holder: pods of Docker may take their time.
PATIENCE = 120


class Holder:
    """The other process; it starts when it is first asked, and ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""

    def ask(self, do: str, **what: Any) -> Any:
        """Its answer; RuntimeError with what went wrong there."""
        if ENGINE != "existing":
            pytest.skip(f"needs an empty cluster of its own, which is no matter of {ENGINE}")
        if self._process is None:
            self._start()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(f"{self._folder}/socket")
            with connection.makefile("rwb") as file:
                file.write(json.dumps({"do": do, **what}).encode() + b"\n")
                file.flush()
                answer = json.loads(file.readline())
        if "error" in answer:
            raise RuntimeError(f"{do}: {answer['error']}")
        return answer["answer"]

    def _start(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="cove-holder-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.holder", f"{self._folder}/socket"],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "COVE_HOME": f"{self._folder}/home"},
        )
        atexit.register(self.close)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the holder did not start"

    def close(self) -> None:
        """End it, and what it serves."""
        if self._process is not None:
            self._process.communicate()
            self._process = None
            shutil.rmtree(self._folder, ignore_errors=True)


HOLDER = Holder()


class Fault:
    """A fault of a server elsewhere."""

    def __init__(self, number: int, fault: int) -> None:
        self._which = {"number": number, "fault": fault}

    @property
    def hits(self) -> int:
        return int(HOLDER.ask("fault", **self._which, lift=False)["hits"])

    @property
    def seen(self) -> int:
        return int(HOLDER.ask("fault", **self._which, lift=False)["seen"])

    @property
    def count(self) -> int | None:
        raise AttributeError("it is only set")

    @count.setter
    def count(self, count: int | None) -> None:
        HOLDER.ask("recount", **self._which, count=count)

    def lift(self) -> None:
        HOLDER.ask("fault", **self._which, lift=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.lift()


class Faults:
    """Those of a server elsewhere: the methods of :class:`cove.server.faults.Faults`."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any, **options: Any) -> Fault | None:
            made = HOLDER.ask(
                "faults", number=self._number, method=method, args=args, options=options
            )
            return None if made is None else Fault(self._number, made)

        return call


class Counted:
    """A transport whose requests are known as long as they are not answered."""

    # Those of this process, and those of them that nobody waits for any more.
    open: ClassVar[set[object]] = set()
    hung: ClassVar[set[object]] = set()

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def request(self, *args: Any, **options: Any) -> Any:
        with self._counted():
            return await self._inner.request(*args, **options)

    @asynccontextmanager
    async def stream(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        with ExitStack() as opening:
            opening.enter_context(self._counted())
            async with self._inner.stream(*args, **options) as stream:
                opening.close()
                yield stream

    @contextmanager
    def _counted(self) -> Iterator[None]:
        mark = object()
        self.open.add(mark)
        try:
            yield
        finally:
            self.open.discard(mark)
            self.hung.discard(mark)


def outstanding() -> bool:
    """Whether somebody waits for an answer of a cluster elsewhere."""
    return bool(Counted.open - Counted.hung)


async def answered() -> None:
    """Return when requests to clusters elsewhere are answered; those that hang are given up once.

    Where clusters are in this process there is nothing to wait for: their answers are a matter of
    turns of the loop.
    """
    try:
        async with asyncio.timeout(HANGS):
            while outstanding():
                await asyncio.sleep(0.001)
    except TimeoutError:
        Counted.hung |= Counted.open


class Clock:
    """That of a cluster elsewhere."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def advance(self, seconds: float) -> None:
        """Let time pass there."""
        await asyncio.to_thread(HOLDER.ask, "advance", number=self._number, seconds=seconds)


class Elsewhere:
    """A cluster that exists, as the code under test has it; and what tests do to its server."""

    def __init__(self, number: int, existing: ExistingCluster) -> None:
        self._number = number
        self.existing = existing
        transport = Counted(existing.client.transport)
        self.client = Client(transport, user_agent="cove", namespace=existing.client.namespace)
        self.faults = Faults(number)
        self.clock = Clock(number)

    @property
    def name(self) -> str:
        return self.existing.name

    @property
    def url(self) -> str:
        return self.existing.url

    @property
    def kubeconfig_path(self) -> Path:
        return self.existing.kubeconfig_path

    @property
    def kubeconfig(self) -> str:
        return self.kubeconfig_path.read_text()

    async def settle(self) -> None:
        """Return when its controllers and nodes have done what there is to do."""
        await asyncio.to_thread(HOLDER.ask, "settle", number=self._number)

    async def restart(self) -> None:
        """Restart its server."""
        await asyncio.to_thread(HOLDER.ask, "restart", number=self._number)

    @asynccontextmanager
    async def fork(self, **options: Any) -> AsyncIterator[Elsewhere]:
        """A second cluster like it, which exists as well."""
        made = await asyncio.to_thread(HOLDER.ask, "copy", number=self._number, options=options)
        async with _held(made, self.name) as other:
            yield other

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a cluster that exists has no {name}: a test that needs it is about the embedded "
            "engine, and says so with @pytest.mark.embedded(reason)"
        )


@asynccontextmanager
async def serving(
    name: str = "cove", *, listeners: dict[int, int] | None = None, **options: Any
) -> AsyncIterator[Any]:
    """A cluster as :func:`cove.embedded` makes it; elsewhere, if the variable says so.

    ``listeners`` are ports of its pods, and those of this machine that answer for them.
    """
    if not ELSEWHERE:
        async with embedded(name, **options) as cluster:
            if listeners is not None:
                kubelet = cluster.api.kubelet = LocalKubelet()
                kubelet.ports.update(listeners)
            yield cluster
        return
    asked = {"options": {"name": name, **options}, "listeners": listeners}
    made = await asyncio.to_thread(HOLDER.ask, "serve", **asked)
    async with _held(made, name) as cluster:
        yield cluster


@asynccontextmanager
async def _held(made: dict[str, Any], name: str) -> AsyncIterator[Elsewhere]:
    """What the holder has made, known by its kubeconfig; it ends with this."""
    try:
        with tempfile.TemporaryDirectory(prefix="cove-elsewhere-") as folder:
            options = ClusterOptions(kubeconfig=_written(made["kubeconfig"], Path(folder)))
            async with ExistingCluster(name, options, log=lambda line: None) as existing:
                yield Elsewhere(made["number"], existing)
    finally:
        await asyncio.to_thread(HOLDER.ask, "end", number=made["number"])


def _written(kubeconfig: str, folder: Path) -> Path:
    file = folder / "config"
    file.touch(mode=0o600)
    file.write_text(kubeconfig)
    return file


@contextmanager
def served(**options: Any) -> Iterator[Path]:
    """The kubeconfig of a cluster elsewhere that nobody else uses."""
    with _for_files(HOLDER.ask("serve", options=options)) as file:
        yield file


@contextmanager
def forked(**options: Any) -> Iterator[Path]:
    """The same, sooner: its pods are simulated."""
    with _for_files(HOLDER.ask("fork", options=options)) as file:
        yield file


@contextmanager
def _for_files(made: dict[str, Any]) -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="cove-elsewhere-") as folder:
            yield _written(made["kubeconfig"], Path(folder))
    finally:
        HOLDER.ask("end", number=made["number"])


def everywhere() -> None:
    """Have this process find a cluster elsewhere, as long as it runs; called once."""
    os.environ["COVE_ENGINE"] = ENGINE
    if ENGINE != "existing":
        return
    folder = tempfile.mkdtemp(prefix="cove-elsewhere-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = HOLDER.ask("serve", options={"name": "shared", "nodes": 2})
    os.environ["KUBECONFIG"] = str(_written(made["kubeconfig"], Path(folder)))
    os.environ["COVE_HOME"] = f"{folder}/home"


def choose_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable ``COVE_ENGINE``, as the code under test is to find it."""
    monkeypatch.delenv("COVE_ENGINE", raising=False)
    if ELSEWHERE:
        monkeypatch.setenv("COVE_ENGINE", ENGINE)


def setup(item: pytest.Item) -> None:
    """Skip a test that can be about the embedded engine only."""
    for mark in item.iter_markers("embedded"):
        (reason,) = mark.args
        if ELSEWHERE:
            pytest.skip(f"for the embedded engine only: {reason}")
