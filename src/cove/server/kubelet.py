"""What the API server asks of the nodes: logs, commands, connections, usage.

The server owns none of it: an engine whose nodes run containers sets :attr:`Api.kubelet
<cove.server.api.Api.kubelet>`.  Where nothing runs it stays None, and clients are told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from cove.kube.podoptions import ExecOptions, LogOptions, Usage

__all__ = ["Command", "Kubelet", "Usage"]

Doc = Mapping[str, Any]


class Command(Protocol):
    """A command in a container, or the container itself, with its streams open."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output, (1 stdout or 2 stderr, bytes); None when there is no more.

        With a terminal everything is stdout.
        """

    async def write(self, data: bytes) -> None:
        """Give it input; what nobody reads any more is dropped."""

    async def end_input(self) -> None:
        """Close its standard input."""

    async def resize(self, columns: int, rows: int) -> None:
        """Tell its terminal the size of the client's."""

    async def wait(self) -> int:
        """The exit code, once the output has ended; 0 for what was attached to."""

    async def aclose(self) -> None:
        """Let go of the streams."""


class Kubelet(Protocol):
    """Every node of the cluster as one; ``pod`` is the Pod as it is stored.

    Methods raise :class:`~cove.kube.status.StatusError` with what a client shall read.
    """

    def runs(self, pod: Doc) -> bool:
        """Whether the pod's node runs containers; False: it is simulated."""

    def logs(self, pod: Doc, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """What a container has written; with ``follow`` until it ends.

        A StatusError of the first piece is the answer to the request.
        """

    async def run(self, pod: Doc, container: str, options: ExecOptions) -> Command:
        """Run a command in a container that runs, or attach to it."""

    async def connect(
        self, pod: Doc, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port inside the pod's network, loopback included."""

    async def usage(self, pods: Sequence[Doc]) -> Mapping[str, Mapping[str, Usage]]:
        """Pod uid → container → what it uses; pods nothing is known of yet are left out."""

    async def node_usage(self) -> Mapping[str, Usage]:
        """Node → what it uses."""
