"""Routes: which backend a host and a path lead to, in Kubernetes' order.

Pure.  A host is chosen first: the exact one, then the longest wildcard, then rules without
a host.  Of its paths an exact one comes before any prefix, then the longest; of equals the
older Ingress wins.  What no path of the host takes goes to a default backend, if any.

Source: https://kubernetes.io/docs/concepts/services-networking/ingress/#multiple-matches
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from cove.client.meta import key_of
from cove.node.ingress.backends import Backends, External, Nobody, Pool, Target

__all__ = [
    "BACKEND_PROTOCOL",
    "SSL_REDIRECT",
    "USE_REGEX",
    "Route",
    "oldest",
    "routes",
    "tls_hosts",
]

Doc = dict[str, Any]
Match = Literal["exact", "prefix", "regex", "default"]

SSL_REDIRECT = "cove.dev/ssl-redirect"
BACKEND_PROTOCOL = "cove.dev/backend-protocol"
USE_REGEX = "cove.dev/use-regex"
# What charts write already; ours win.
_OTHERS = {
    SSL_REDIRECT: "nginx.ingress.kubernetes.io/ssl-redirect",
    BACKEND_PROTOCOL: "nginx.ingress.kubernetes.io/backend-protocol",
    USE_REGEX: "nginx.ingress.kubernetes.io/use-regex",
}
_PROTOCOLS = {"HTTP": "http", "HTTPS": "https", "GRPC": "h2c", "H2C": "h2c", "GRPCS": "https"}
_RANK = {"exact": 0, "regex": 1, "prefix": 1, "default": 2}


@dataclass(frozen=True, slots=True)
class Route:
    """One path of one host.  ``ingress`` is who asked for it, ``namespace/name``.

    ``pattern`` is a regular expression for the path, "" for any; ``redirect``: plain HTTP is
    sent to HTTPS.
    """

    match: Match
    path: str
    target: Target
    ingress: str
    redirect: bool = False

    @property
    def pattern(self) -> str:
        """As Go's regexp package and Python's read it alike."""
        if self.match == "exact":
            return f"^{quote(self.path)}$"
        if self.match == "regex":
            return f"^(?:{self.path})"
        stem = self.path.rstrip("/")
        return f"^{quote(stem)}(?:/|$)" if stem else ""


def quote(text: str) -> str:
    """``text`` as a regular expression that matches it alone."""
    return re.sub(
        r"[^\w/-]", lambda m: "\\" + m[0] if m[0].isascii() else m[0], text, flags=re.ASCII
    )


def oldest(ingresses: Iterable[Doc]) -> list[Doc]:
    """In the order in which they win where they want the same."""
    return sorted(
        ingresses, key=lambda i: (i["metadata"].get("creationTimestamp") or "", key_of(i))
    )


def annotation(ingress: Doc, name: str) -> str:
    """The value of an annotation of ours, or of the one that others have for the same."""
    annotations = ingress["metadata"].get("annotations") or {}
    return annotations.get(name) or annotations.get(_OTHERS[name]) or ""


def tls_hosts(ingress: Doc) -> dict[str, str]:
    """The hosts that an Ingress wants TLS for, and the names of their Secrets ("" for none).

    An entry without hosts is for all hosts of the rules.
    """
    spec = ingress["spec"]
    out: dict[str, str] = {}
    named = [r["host"] for r in spec.get("rules") or () if r.get("host")]
    for entry in spec.get("tls") or ():
        for host in entry.get("hosts") or named:
            if not out.get(host):
                out[host] = entry.get("secretName") or ""
    return out


def routes(ingresses: Iterable[Doc], backends: Backends) -> list[tuple[str, list[Route]]]:
    """Hosts ("" for any) in the order they are tried, each with its routes in theirs."""
    hosts: dict[str, list[Route]] = {}
    # Defaults: those of Ingresses without rules first, as nobody else's path was missed.
    alone: list[Route] = []
    beside: list[Route] = []
    for ingress in oldest(ingresses):
        spec, key = ingress["spec"], key_of(ingress)
        namespace = ingress["metadata"]["namespace"]
        wants = tls_hosts(ingress)
        catches_all = any(not e.get("hosts") for e in spec.get("tls") or ())
        redirects = annotation(ingress, SSL_REDIRECT).lower() != "false"
        default: Route | None = None
        if spec.get("defaultBackend"):
            target = _target(ingress, namespace, spec["defaultBackend"], backends)
            default = Route("default", "/", target, key)
            (beside if spec.get("rules") else alone).append(default)
        for rule in spec.get("rules") or ():
            host = rule.get("host") or ""
            redirect = redirects and (host in wants or (not host and catches_all))
            listed = hosts.setdefault(host, [])
            if default is not None:
                listed.append(Route("default", "/", default.target, key, redirect))
            paths = (rule.get("http") or {}).get("paths") or ()
            for item in paths:
                match = _match(ingress, item)
                target = _target(ingress, namespace, item["backend"], backends)
                listed.append(Route(match, item.get("path") or "/", target, key, redirect))
    defaults = alone + beside
    if defaults:
        hosts.setdefault("", [])
    return [
        (host, [*sorted(listed, key=_precedence), *defaults[:1]])
        for host, listed in sorted(hosts.items(), key=lambda h: _specific(h[0]))
    ]


def _precedence(route: Route) -> tuple[int, int, bool]:
    length = len(route.path) if route.match in ("exact", "regex") else len(route.path.rstrip("/"))
    return (_RANK[route.match], -length, route.match == "prefix")


def _specific(host: str) -> tuple[int, int, str]:
    rank = 2 if not host else 1 if host.startswith("*") else 0
    return (rank, -len(host), host)


def _match(ingress: Doc, item: Doc) -> Match:
    kind = item.get("pathType")
    if kind == "Exact":
        return "exact"
    if kind == "ImplementationSpecific" and annotation(ingress, USE_REGEX).lower() == "true":
        return "regex"
    return "prefix"


def _target(ingress: Doc, namespace: str, backend: Doc, backends: Backends) -> Target:
    target = backends.find(namespace, backend)
    protocol = _PROTOCOLS.get(annotation(ingress, BACKEND_PROTOCOL).upper())
    if protocol is None or isinstance(target, Nobody):
        return target
    assert isinstance(target, Pool | External)
    return target._replace(protocol=protocol)
