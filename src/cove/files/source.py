"""Source: which cluster is meant, as data that can be handed to another process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cove.client import Client, Connection, HttpTransport, kubeconfig
from cove.files.tree import Tree
from cove.kube.status import CoveError

__all__ = ["Source", "SourceError"]

# Seconds that one answer may take.
TIMEOUT = 20.0


class SourceError(CoveError):
    """No cluster can be meant by this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A context of a kubeconfig, or the socket of a ``kubectl proxy``.

    ``kubeconfig`` None is ``$KUBECONFIG`` and then ``~/.kube/config``; ``context`` None is the
    current one of now: see :meth:`pinned`.
    """

    kubeconfig: str | None = None
    context: str | None = None
    unix_socket: str | None = None

    def pinned(self) -> Source:
        """The same, whatever becomes the current context; raises KubeconfigError."""
        if self.unix_socket is not None:
            return replace(self, unix_socket=os.path.abspath(self.unix_socket))
        files = None if self.kubeconfig is None else [Path(self.kubeconfig)]
        context = self.context or kubeconfig.read(files)["current-context"] or None
        path = None if self.kubeconfig is None else os.path.abspath(self.kubeconfig)
        return replace(self, kubeconfig=path, context=context)

    def connection(self) -> Connection:
        """Where the server is and who to be there; raises KubeconfigError, SourceError."""
        if self.unix_socket is not None:
            if not Path(self.unix_socket).is_socket():
                raise SourceError(
                    f"{self.unix_socket} is no socket: `kubectl proxy --unix-socket "
                    f"{self.unix_socket}` makes one"
                )
            return Connection(
                server="http://localhost", unix_socket=self.unix_socket, origin=self.unix_socket
            )
        return kubeconfig.load(self.kubeconfig, context=self.context)

    @asynccontextmanager
    async def tree(self, **options: Any) -> AsyncIterator[Tree]:
        """The tree of the cluster; ``options`` are :class:`Tree`'s."""
        transport = HttpTransport(self.connection(), timeout=TIMEOUT)
        async with Client(transport, user_agent="cove-files") as client:
            async with Tree(client, **options) as tree:
                yield tree
