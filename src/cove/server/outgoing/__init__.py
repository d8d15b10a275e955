"""Calls the API server makes: webhooks, extension API servers, what it is a proxy to.

:class:`Outgoing` owns the connections and belongs to the engine; a cluster's forks share
it.  Where a service is, is asked of the store each time (:mod:`._services`).
"""

from cove.server.outgoing._client import Answer, Outgoing
from cove.server.outgoing._errors import CallError
from cove.server.outgoing._forward import answer_of, handed_on
from cove.server.outgoing._relay import relay
from cove.server.outgoing._review import review
from cove.server.outgoing._services import ResolveError, ready_endpoints, resolve
from cove.server.outgoing._target import Target, target_of
from cove.server.outgoing._tls import Trust

__all__ = [
    "Answer",
    "CallError",
    "Outgoing",
    "ResolveError",
    "Target",
    "Trust",
    "answer_of",
    "handed_on",
    "ready_endpoints",
    "relay",
    "resolve",
    "review",
    "target_of",
]
