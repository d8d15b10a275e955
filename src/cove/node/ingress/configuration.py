"""The configuration of Caddy, from routes and certificates.  Pure.

Source: https://caddyserver.com/docs/json/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cove.node.ingress.backends import External, Nobody, Pool
from cove.node.ingress.routes import Route
from cove.pki import Pair

__all__ = ["Certificates", "Settings", "configuration"]

Doc = dict[str, Any]
Hosts = Iterable[tuple[str, Sequence[Route]]]

# How long Caddy goes by what it was told of endpoints.  Short, since nobody is to be sent
# to a pod that has gone; not zero, since requests in numbers share an answer.
REFRESH = "100ms"
# Connections that were upgraded outlive the configuration they came by.
UPGRADED = "8760h"
_TEXT = {"Content-Type": ["text/plain; charset=utf-8"]}


class Certificates(NamedTuple):
    """``pairs`` by a tag, and the tag of each host's (wildcards included).

    ``fallback`` is the host whose certificate is shown to who names no host, or one that
    has none.
    """

    pairs: Mapping[str, Pair]
    hosts: Mapping[str, str]
    fallback: str


class Settings(NamedTuple):
    """What does not change while Caddy runs: listeners and addresses in Caddy's notation."""

    admin: str
    storage: str
    http: Sequence[str]
    https: Sequence[str]
    http_port: int
    https_port: int
    names: str


def base(settings: Settings) -> Doc:
    """A Caddy that serves nothing yet; it keeps nothing and asks nobody for certificates."""
    return {
        "admin": {"listen": settings.admin, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": settings.storage},
        # One line for every request that finds nobody is too much.
        "logging": {"logs": {"default": {"level": "ERROR", "exclude": ["http.handlers"]}}},
    }


def configuration(hosts: Hosts, certificates: Certificates, settings: Settings) -> Doc:
    """All of it."""
    listed = list(hosts)
    doc = base(settings)
    servers = {
        "http": {
            "listen": list(settings.http),
            "protocols": ["h1", "h2c"],
            **_server(listed, settings, secure=False),
        },
        "https": {
            "listen": list(settings.https),
            "protocols": ["h1", "h2"],
            "tls_connection_policies": _policies(certificates),
            **_server(listed, settings, secure=True),
        },
    }
    pairs = [
        {"certificate": p.certificate.decode(), "key": p.key.decode(), "tags": [tag]}
        for tag, p in sorted(certificates.pairs.items())
    ]
    doc["apps"] = {
        "http": {"servers": servers},
        "tls": {"certificates": {"load_pem": pairs}},
    }
    return doc


def _policies(certificates: Certificates) -> list[Doc]:
    """Who names a host gets its certificate, exact names before wildcards."""
    by_tag: dict[tuple[bool, str], list[str]] = {}
    for host, tag in certificates.hosts.items():
        by_tag.setdefault((host.startswith("*"), tag), []).append(host)
    policies: list[Doc] = [
        {
            "match": {"sni": sorted(hosts)},
            "certificate_selection": {"any_tag": [tag]},
        }
        for (_, tag), hosts in sorted(by_tag.items())
    ]
    fallback = certificates.fallback
    policies.append({"default_sni": fallback, "fallback_sni": fallback})
    return policies


def _server(hosts: Hosts, settings: Settings, *, secure: bool) -> Doc:
    out: list[Doc] = []
    for host, listed in hosts:
        inner = [_route(route, settings, secure) for route in listed]
        outer: Doc = {"handle": [{"handler": "subroute", "routes": inner}], "terminal": True}
        if host:
            outer["match"] = [{"host": [host]}]
        # Whose host is known is answered here, whatever the path.
        inner.append(_text(404, "no rule for this path"))
        out.append(outer)
    out.append(_text(404, "no rule for this host"))
    # With what happened: who asks here is who has to put it right.
    failed = _text("{http.error.status_code}", "{http.error.status_text}: {http.error.message}")
    return {
        "automatic_https": {"disable": True},
        "routes": out,
        "errors": {"routes": [failed]},
    }


def _text(status: int | str, text: str) -> Doc:
    return {
        "handle": [
            {
                "handler": "static_response",
                "status_code": status,
                "headers": _TEXT,
                "body": f"{text}\n",
            }
        ]
    }


def _route(route: Route, settings: Settings, secure: bool) -> Doc:
    out: Doc
    if route.redirect and not secure:
        port = "" if settings.https_port == 443 else f":{settings.https_port}"
        location = f"https://{{http.request.host}}{port}{{http.request.uri}}"
        out = {
            "handle": [
                {
                    "handler": "static_response",
                    "status_code": 308,
                    "headers": {"Location": [location]},
                }
            ]
        }
    elif isinstance(route.target, Nobody):
        out = _text(503, route.target.text)
    else:
        out = {"handle": [_proxy(route.target, settings, secure)]}
    if route.pattern:
        out["match"] = [{"path_regexp": {"pattern": route.pattern}}]
    out["terminal"] = True
    return out


def _proxy(target: Pool | External, settings: Settings, secure: bool) -> Doc:
    port = settings.https_port if secure else settings.http_port
    transport: Doc = {"protocol": "http", "dial_timeout": "3s"}
    if target.protocol == "https":
        # As with a kubelet's probes: pods' certificates are nobody's in particular.
        transport["tls"] = {"insecure_skip_verify": True}
    elif target.protocol == "h2c":
        transport["versions"] = ["h2c", "2"]
    out: Doc = {
        "handler": "reverse_proxy",
        "transport": transport,
        "stream_close_delay": UPGRADED,
        # Who cannot be reached has seen nothing of the request: another one may.
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "retries": 4,
            "try_interval": "50ms",
        },
        "headers": {
            "request": {
                "set": {
                    "Host": ["{http.request.hostport}"],
                    "X-Forwarded-Port": [str(port)],
                    "X-Real-Ip": ["{http.request.remote.host}"],
                }
            }
        },
    }
    if isinstance(target, External):
        out["upstreams"] = [{"dial": target.address}]
        return out
    sources = [
        {
            "source": "a",
            "name": name,
            "port": str(number),
            "refresh": REFRESH,
            "versions": {"ipv4": True, "ipv6": target.ipv6},
            "resolver": {"addresses": [settings.names]},
        }
        for name, number in target.names
    ]
    out["dynamic_upstreams"] = (
        sources[0] if len(sources) == 1 else {"source": "multi", "sources": sources}
    )
    return out
