"""HTTP and HTTPS from this machine into the cluster, and the names for it.

:class:`IngressProxy` serves Ingresses through Caddy; :class:`Resolver` answers for the
names of development domains.  Imports libraries of the extra ``containers``.
"""

from __future__ import annotations

from cove.node.ingress._sockets import ListenError
from cove.node.ingress.caddy import CaddyError
from cove.node.ingress.proxy import DOMAIN, IngressProxy
from cove.node.ingress.resolver import Instruction, Resolver, instructions

__all__ = [
    "DOMAIN",
    "CaddyError",
    "IngressProxy",
    "Instruction",
    "ListenError",
    "Resolver",
    "instructions",
]
