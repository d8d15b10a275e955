"""Endpoints: ports of this machine that lead to the ready pods of a Service.

::

    async with Forwarder(client, "web", 80, on_change=tell) as web:
        await web.wait_ready()
        print(web.url)
"""

from __future__ import annotations

from cove.host.endpoint._listener import PortTakenError
from cove.host.endpoint.forwarder import Forwarder, ForwardStatus, Phase
from cove.host.endpoint.target import Never, NotYet, Scheme, Target, resolve, scheme_of

__all__ = [
    "ForwardStatus",
    "Forwarder",
    "Never",
    "NotYet",
    "Phase",
    "PortTakenError",
    "Scheme",
    "Target",
    "resolve",
    "scheme_of",
]
