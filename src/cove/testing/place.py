"""Place: one cluster as one test has it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cove.kube.gvk import GVR

if TYPE_CHECKING:
    from cove.client import Client
    from cove.engines._running import Running
    from cove.engines.cluster import EngineName
    from cove.testing.bridge import Bridge
    from cove.testing.timeline import Timeline

__all__ = ["READS", "NotHereError", "Place", "Read", "Tape"]


class NotHereError(LookupError):
    """The engine cannot do that: a test that asks for it is skipped there."""


class Read(NamedTuple):
    """Something that was read: a collection or, with a name, one object of it.

    ``version`` is the resource version to watch from, "" for the beginning; ``watchable`` False
    is what no watch tells of (logs, subresources).
    """

    place: Place
    gvr: GVR
    namespace: str | None
    name: str
    version: str
    watchable: bool = True


# Where reads are noted down, while somebody wants to know what to watch.
READS: ContextVar[list[Read] | None] = ContextVar("cove_testing_reads", default=None)


class Tape:
    """Which timeline is recorded on: that of the test that runs, None between tests.

    ``all`` are those there were.
    """

    def __init__(self, now: Timeline | None = None) -> None:
        self.now = now
        self.all: list[Timeline] = [] if now is None else [now]

    def put(self, timeline: Timeline | None) -> None:
        """Record on this one from here on."""
        self.now = timeline
        if timeline is not None:
            self.all.append(timeline)

    def __call__(self) -> Timeline | None:
        return self.now


@dataclass(eq=False)
class Place:
    """``client`` records on :attr:`timeline`, where there is one: a test's, for as long as it runs.

    ``plain`` is the same client unrecorded, for what a test does not ask itself.

    ``namespace`` is what tests mean when they name none.  ``running`` is the cluster itself where
    it is in this process (the embedded engine), None elsewhere.  ``addresses`` are where what
    runs beside pods is: ``registry``, ``http``, ``https``, ``resolver``.
    """

    name: str
    engine: EngineName
    url: str
    client: Client
    plain: Client
    # Where the kubeconfig is, written when it is first asked for.
    find_kubeconfig: Callable[[], Path]
    bridge: Bridge
    namespace: str = "default"
    tape: Tape = field(default_factory=lambda: Tape())
    running: Running | None = None
    addresses: dict[str, str] = field(default_factory=dict)
    # The authority that signed what Ingresses show, PEM; "" where there is none.
    authority: str = ""
    # Names that lead to its Ingresses: domains, and hosts that a test has registered.
    domains: tuple[str, ...] = ()
    hosts: list[str] = field(default_factory=list)
    # How another name is made to lead there, where that is not the embedded engine's affair.
    register: Callable[[str], Coroutine[Any, Any, None]] | None = None
    # Whether it is to stay when the test has ended (`--cove-keep`).
    kept: bool = False

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for programs on this machine."""
        return self.find_kubeconfig()

    @property
    def timeline(self) -> Timeline | None:
        """Where calls are recorded now."""
        return self.tape.now

    @property
    def space(self) -> str | None:
        """The namespace that is the test's, None where all of them are."""
        return self.namespace if self.running is None else None
