"""/openapi/v2 and /openapi/v3: documents made when asked for, kept while they are the same.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube.catalogue import openapi
from cove.kube.catalogue.openapi import CustomKind
from cove.kube.catalogue.openapi_protobuf import encode_v2
from cove.server.negotiate import accept_openapi
from cove.server.request import Request, Response

if TYPE_CHECKING:
    from cove.server.api import Api

__all__ = ["respond"]

# Encoded documents are large (v2: 4 MB): only the last few are kept.
_KEPT = 8
_cache: OrderedDict[str, bytes] = OrderedDict()


def _kept(
    key: str, make: Callable[[], Any], encode: Callable[[Any], bytes] = orjson.dumps
) -> bytes:
    found = _cache.get(key)
    if found is None:
        found = _cache[key] = encode(make())
        if len(_cache) > _KEPT:
            _cache.popitem(last=False)
    else:
        _cache.move_to_end(key)
    return found


def respond(api: Api, request: Request, parts: list[str]) -> Response:
    """The answer for ``parts``, the path's; 404 without a body for what is not there."""
    if request.method not in ("GET", "HEAD"):
        return Response(405, b"", "text/plain; charset=utf-8")
    kinds = api.registry.custom.kinds(api)
    rest = parts[2:]
    if parts[1] == "v2":
        return _v2(request, kinds) if not rest else _missing()
    if not rest:
        index = openapi.v3_index(kinds)
        for remote in api.remotes.at(api).values():
            if remote.known.openapi:
                index["paths"][remote.path.lstrip("/")] = {
                    "serverRelativeURL": remote.known.openapi
                }
        body = orjson.dumps(index)
        return Response(200, body, "text/plain; charset=utf-8")
    if rest[0] == "api" and len(rest) == 2:
        group, version = "", rest[1]
    elif rest[0] == "apis" and len(rest) == 3:
        group, version = rest[1], rest[2]
    else:
        return _missing()
    return _v3(request, kinds, group, version)


def _missing() -> Response:
    return Response(404, b"", "")


def _tagged(
    request: Request, digest: str, body: Callable[[], bytes], media: str = "application/json"
) -> Response:
    etag = f'"{digest}"'
    headers = [("Etag", etag), ("Vary", "Accept")]
    if request.headers.get("If-None-Match") == etag:
        response = Response(304, b"", media)
    else:
        response = Response(200, body(), media)
    response.headers.extend(headers)
    return response


def _v2(request: Request, kinds: Sequence[CustomKind]) -> Response:
    groups = sorted({(k.group, k.version) for k in kinds})
    state = "".join(openapi.v3_hash(g, v, kinds) for g, v in groups)
    media = accept_openapi(request.headers.get("Accept", ""))
    encode: Callable[[Any], bytes] = orjson.dumps
    if media != "application/json":
        encode, state = encode_v2, f"{media} {state}"
    digest = hashlib.sha512(f"v2 {state}".encode()).hexdigest().upper()
    return _tagged(request, digest, lambda: _kept(digest, lambda: openapi.v2(kinds), encode), media)


def _v3(request: Request, kinds: Sequence[CustomKind], group: str, version: str) -> Response:
    document = openapi.v3_hash(group, version, kinds)
    key = f"{group}/{version} {document}"
    if key not in _cache:
        found = openapi.v3(group, version, kinds)
        if found is None:
            return _missing()
        _kept(key, lambda: found)
    wanted = request.param("hash") if request.query_string else ""
    if wanted and wanted != document:
        place = f"apis/{group}/{version}" if group else f"api/{version}"
        response = Response(301, b"", "text/plain; charset=utf-8")
        response.headers.append(("Location", f"/openapi/v3/{place}?hash={document}"))
        return response
    response = _tagged(request, document, lambda: _cache[key])
    if wanted:
        # The hash names the content: it never changes.
        response.headers.append(("Cache-Control", "public, immutable"))
        response.headers.append(("Expires", format_datetime(_year_ahead(), usegmt=True)))
    return response


def _year_ahead() -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) + timedelta(days=365)
