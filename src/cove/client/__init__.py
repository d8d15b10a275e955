"""One async client for any API server: kubeconfig, verbs, watch, informers, work queues.

::

    async with Client.connect(kubeconfig.load()) as client:
        pods = await client.list(GVR("", "v1", "pods"), "default")
"""

from __future__ import annotations

from cove.client import kubeconfig
from cove.client._client import Client, ListResult, WatchEvent
from cove.client._discovery import Discovery, Resource
from cove.client._http import HttpTransport
from cove.client._tasks import Tasks
from cove.client._transport import Answer, InProcessTransport, Stream, Transport
from cove.client.clock import Clock, ManualClock, SystemClock, TravelClock, deadline
from cove.client.errors import (
    ClientError,
    ExecError,
    KubeconfigError,
    PortForwardError,
    UnknownKindError,
    UnreachableError,
)
from cove.client.exec import ExecResult
from cove.client.informer import Backoff, Handler, Informer, Informers
from cove.client.kubeconfig import Connection
from cove.client.meta import ObjectMeta, OwnerReference, meta
from cove.client.portforward import PortForward, Tunnels
from cove.client.recorder import Recorder
from cove.client.workqueue import QueueClosed, WorkQueue

__all__ = [
    "Answer",
    "Backoff",
    "Client",
    "ClientError",
    "Clock",
    "Connection",
    "Discovery",
    "ExecError",
    "ExecResult",
    "Handler",
    "HttpTransport",
    "InProcessTransport",
    "Informer",
    "Informers",
    "KubeconfigError",
    "ListResult",
    "ManualClock",
    "ObjectMeta",
    "OwnerReference",
    "PortForward",
    "PortForwardError",
    "QueueClosed",
    "Recorder",
    "Resource",
    "Stream",
    "SystemClock",
    "Tasks",
    "Transport",
    "TravelClock",
    "Tunnels",
    "UnknownKindError",
    "UnreachableError",
    "WatchEvent",
    "WorkQueue",
    "deadline",
    "kubeconfig",
    "meta",
]
