"""Paths that are not resources: discovery, OpenAPI, version, health, keys."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import catalogue
from cove.kube.catalogue import discovery
from cove.kube.status import StatusError
from cove.kube.version import KUBERNETES, MAJOR, MINOR
from cove.server.aggregation import extended, proxy
from cove.server.api import encode
from cove.server.history import history, past
from cove.server.metrics import with_metrics
from cove.server.negotiate import accept_plain
from cove.server.registry import method_not_allowed, page_not_found
from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["plain"]

TEXT = "text/plain; charset=utf-8"

CHECKS = (
    "ping",
    "log",
    "etcd",
    "etcd-readiness",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/aggregator-reload-proxy-client-cert",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-status-available-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
)


async def plain(api: Api, request: Request) -> Response:
    """Answer a path that is not a resource; 404 in plain text for what is not there."""
    path = request.path
    parts = [p for p in path.split("/") if p]
    if not parts:
        return _document(request, {"paths": _paths(api)})
    if path.startswith("//"):
        return page_not_found()
    head = parts[0]
    if head in ("healthz", "livez", "readyz"):
        return _health(request, head, "/".join(parts[1:]))
    if head == "api" or head == "apis":
        return _discovery(api, request, parts)
    if head == "revisions" and len(parts) > 1:
        return await past(api, request)
    if head == "cove" and len(parts) > 1:
        ours = history if parts[1] == "history" else api.extra.get(parts[1])
        return page_not_found() if ours is None else await ours(api, request)
    handler = _HANDLERS.get("/" + "/".join(parts))
    if handler is not None:
        return await handler(api, request)
    if head == "openapi" and len(parts) > 1 and parts[1] in ("v2", "v3"):
        remote = api.remotes.find(api, "/" + "/".join(parts[2:])) if len(parts) > 3 else None
        if remote is not None and parts[1] == "v3":
            return await proxy(api, request, remote)
        return _openapi(api, request, parts)
    return page_not_found()


def _document(request: Request, doc: Any, offered: str = "") -> Response:
    accept = request.headers.get("Accept") or ""
    media = accept_plain(accept, offered) if offered else accept_plain(accept)
    return Response(200, encode(doc, media), media)


async def _version(_api: Api, request: Request) -> Response:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return _document(
        request,
        {
            "major": MAJOR,
            "minor": MINOR,
            "emulationMajor": MAJOR,
            "emulationMinor": MINOR,
            "minCompatibilityMajor": MAJOR,
            "minCompatibilityMinor": str(int(MINOR) - 1),
            "gitVersion": f"{KUBERNETES}+cove",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "gc",
            "platform": f"{platform.system().lower()}/{machine}",
        },
    )


def _health(request: Request, head: str, check: str) -> Response:
    """``/livez``, ``/livez/ping``, with ``verbose`` and ``exclude`` as upstream has them."""
    if check:
        if check not in CHECKS:
            return page_not_found()
        return Response(200, b"ok", TEXT)
    excluded = set(request.query.get("exclude", ())) if request.query_string else set()
    if not request.query_string or "verbose" not in request.query:
        return Response(200, b"ok", TEXT)
    lines = [f"[+]{name} excluded: ok" if name in excluded else f"[+]{name} ok" for name in CHECKS]
    lines += [
        f"warn: some health checks cannot be excluded: no matches for {name!r}"
        for name in sorted(excluded - set(CHECKS))
    ]
    lines.append(f"{head} check passed")
    return Response(200, ("\n".join(lines) + "\n").encode(), TEXT)


async def _oidc(api: Api, request: Request) -> Response:
    issuer = api.config.issuer
    return Response(
        200,
        orjson.dumps(
            {
                "issuer": issuer,
                "jwks_uri": f"https://{api.server_address}/openid/v1/jwks",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        ),
    )


async def _jwks(api: Api, request: Request) -> Response:
    header = request.headers.get("Accept") or ""
    offered = "application/jwk-set+json"
    if header and offered not in header and "*/*" not in header:
        raise StatusError(
            406,
            "NotAcceptable",
            f"406: Not Acceptable\n\nAvailable representations: {offered}",
            {},
        )
    return Response(200, orjson.dumps(api.identity.keys.jwks()), offered)


async def _metrics(api: Api, _request: Request) -> Response:
    state = api.store.state
    lines = [
        "# HELP apiserver_storage_objects Number of stored objects at the time of last check "
        "split by kind.",
        "# TYPE apiserver_storage_objects gauge",
        *(
            f'apiserver_storage_objects{{resource="{resource}"}} {state.count(resource)}'
            for resource in sorted(state.resources())
        ),
    ]
    return Response(200, ("\n".join(lines) + "\n").encode(), "text/plain; version=0.0.4")


def _paths(api: Api) -> list[str]:
    groups = [g for g in catalogue.groups() if g]
    paths = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
    for group in groups:
        paths.append(f"/apis/{group}")
        paths += [f"/apis/{group}/{v}" for v in catalogue.versions(group)]
    for extra in _extra(api):
        paths.append(f"/apis/{extra.name}")
        paths += [f"/apis/{extra.name}/{v.version}" for v in extra.versions]
    paths += ["/healthz", "/livez", "/readyz", "/metrics", "/openapi/v2", "/openapi/v3"]
    paths += ["/openid/v1/jwks", "/version"]
    return sorted(paths)


def _extra(api: Api) -> Sequence[discovery.ExtraGroup]:
    """The groups that are not built in."""
    return extended(api, with_metrics(api, api.registry.custom.discovery(api)))


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@lru_cache(maxsize=64)
def _aggregated(header: str) -> bool:
    """Whether the first thing the header can get is aggregated discovery; raises 406."""
    for clause in header.split(","):
        name, *parameters = [p.strip() for p in clause.split(";")]
        values = dict(p.partition("=")[::2] for p in parameters)
        if values.get("as"):
            if (
                name == "application/json"
                and values.get("as") == "APIGroupDiscoveryList"
                and values.get("g") == "apidiscovery.k8s.io"
                and values.get("v") == "v2"
            ):
                return True
            continue
        if name in ("application/json", "application/yaml", "*/*", ""):
            return False
    accept_plain(header)
    return False


def _discovery(api: Api, request: Request, parts: list[str]) -> Response:
    extra = _extra(api)
    header = request.headers.get("Accept") or ""
    root = len(parts) == 1
    if root:
        if _aggregated(header):
            doc = (
                discovery.aggregated_core()
                if parts[0] == "api"
                else discovery.aggregated_groups(extra)
            )
            return Response(200, encode(doc, AGGREGATED), AGGREGATED)
        if parts[0] == "api":
            return _document(request, discovery.api_versions(api.server_address))
        return _document(request, discovery.api_group_list(extra))
    found = None
    if parts[0] == "api":
        if len(parts) == 2:
            found = discovery.api_resource_list("", parts[1])
    else:
        group = next((g for g in extra if g.name == parts[1]), None)
        if len(parts) == 2:
            found = discovery.api_group(parts[1], group)
        elif len(parts) == 3:
            more = next(
                (v.resources for v in (group.versions if group else ()) if v.version == parts[2]),
                (),
            )
            found = discovery.api_resource_list(parts[1], parts[2], more)
    if found is None:
        if parts[0] == "api" or catalogue.versions(parts[1]):
            raise StatusError(
                404, "NotFound", "the server could not find the requested resource", {}
            )
        return page_not_found()
    if request.method not in ("GET", "HEAD"):
        raise method_not_allowed()
    return _document(request, found)


def _openapi(api: Api, request: Request, parts: list[str]) -> Response:
    from cove.server.openapi import respond

    return respond(api, request, parts)


_HANDLERS: dict[str, Callable[[Api, Request], Awaitable[Response]]] = {
    "/version": _version,
    "/.well-known/openid-configuration": _oidc,
    "/openid/v1/jwks": _jwks,
    "/metrics": _metrics,
}
