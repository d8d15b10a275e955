"""What can go wrong between a client and an API server.

Answers of the server are :class:`~cove.kube.status.StatusError`; the errors here are
about getting an answer at all::

    CoveError
    ├── StatusError            the server said no
    └── ClientError
        ├── UnreachableError   no answer: connection, TLS, time-out
        ├── KubeconfigError    a configuration file that cannot be used
        ├── PortForwardError   a connection into a pod did not come about or broke off
        └── UnknownKindError   discovery does not know it
"""

from __future__ import annotations

from cove.kube.status import CoveError

__all__ = [
    "ClientError",
    "ExecError",
    "KubeconfigError",
    "PortForwardError",
    "UnknownKindError",
    "UnreachableError",
]


class ClientError(CoveError):
    """No answer could be had."""


class UnreachableError(ClientError):
    """The connection failed or broke; whether a write was done is not known."""


class KubeconfigError(ClientError):
    """A kubeconfig that cannot be used: ``file`` is where, ``key`` what in it ("" for all)."""

    def __init__(self, file: str, key: str, problem: str) -> None:
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}")
        self.file = file
        self.key = key


class ExecError(ClientError):
    """A command in a pod could not be run, or nobody can tell how it ended."""


class PortForwardError(ClientError):
    """A connection into a pod did not come about, or broke off; the text is the server's."""


class UnknownKindError(ClientError):
    """The server serves no such kind."""
