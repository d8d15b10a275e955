"""Objects and lists in the representation a request asked for.

The plain JSON form never decodes what is stored; Tables and metadata-only forms do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cove.kube import field_errors as fe
from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.status import StatusError
from cove.server.api import encode
from cove.server.negotiate import Accepted, accept
from cove.server.request import Request, Response
from cove.server.store import Stored

if TYPE_CHECKING:
    from cove.server.api import Api
    from cove.server.endpoint import Endpoint

__all__ = [
    "column_definitions",
    "list_body",
    "object_response",
    "partial",
    "table",
    "table_options",
]


def object_response(
    api: Api, request: Request, endpoint: Endpoint, data: bytes, status: int = 200
) -> Response:
    """One object, given as it is stored."""
    accepted = accept(request.headers.get("Accept") or "")
    if accepted.transform:
        obj = endpoint.load(data)
        doc = transformed(api, request, endpoint, accepted, obj)
        return Response(status, encode(doc, accepted.media), accepted.media)
    if accepted.media == "application/json":
        return Response(status, endpoint.render(data) + b"\n")
    return Response(status, encode(endpoint.load(data), accepted.media), accepted.media)


def document_response(
    api: Api, request: Request, endpoint: Endpoint, doc: Obj, status: int = 200
) -> Response:
    """One object that is not (or not yet) stored: reviews, dry runs, scales."""
    accepted = accept(request.headers.get("Accept") or "")
    if accepted.transform:
        doc = transformed(api, request, endpoint, accepted, doc)
    return Response(status, encode(doc, accepted.media), accepted.media)


def transformed(
    api: Api, request: Request, endpoint: Endpoint, accepted: Accepted, obj: Obj
) -> Obj:
    """One object as a Table of one row or as its metadata."""
    if accepted.transform == "Table":
        meta = {"resourceVersion": obj.get("metadata", {}).get("resourceVersion", "")}
        return table(api, request, endpoint, accepted.version, [obj], _drop_empty(meta))
    if accepted.transform == "PartialObjectMetadataList":
        raise StatusError(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadataList, but the requested object is not a list "
            f"({_go_name(endpoint, endpoint.kind_name)})",
        )
    return partial(obj, accepted.version, endpoint.kind.versioned_annotations)


def _go_name(endpoint: Endpoint, kind: str) -> str:
    if endpoint.custom:
        return "*unstructured.Unstructured" + ("List" if kind != endpoint.kind_name else "")
    group = endpoint.group.split(".")[0] or "core"
    return f"*{group}.{kind}"


def _drop_empty(meta: Obj) -> Obj:
    return {k: v for k, v in meta.items() if v not in ("", None)}


def partial(obj: Obj, version: str, without: Sequence[str] = ()) -> Obj:
    """An object's metadata alone, ``without`` annotations that only the whole object has."""
    meta = obj.get("metadata", {})
    annotations = meta.get("annotations")
    if without and annotations and any(a in annotations for a in without):
        kept = {k: v for k, v in annotations.items() if k not in without}
        meta = {k: v for k, v in meta.items() if k != "annotations"}
        if kept:
            meta["annotations"] = kept
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
    }


def kind_has_printer(endpoint: Endpoint) -> bool:
    """Kinds without columns of their own are listed by another path, which tells none as null."""
    return endpoint.kind.has_printer


def table_options(request: Request) -> str:
    """``includeObject``: "Metadata" (the default), "Object" or "None"; raises 400 for others."""
    include = request.param("includeObject")
    if include in ("", "Metadata", "Object", "None"):
        return include or "Metadata"
    error = fe.invalid("includeObject", include, "must be 'Metadata', 'Object', 'None', or empty")
    raise st.bad_request(f"Unable to convert to Table as requested: {error.field}: {error.text}")


def column_definitions(endpoint: Endpoint) -> list[Obj]:
    """The columns of the resource's Table."""
    return [
        {
            "name": c.name,
            "type": c.type,
            "format": c.format,
            "description": c.description,
            "priority": c.priority,
        }
        for c in endpoint.columns()
    ]


def row(api: Api, endpoint: Endpoint, obj: Obj, include: str, version: str) -> Obj:
    """An object's row."""
    kind = endpoint.kind
    doc: Obj = {"cells": kind.row(obj, api.now())}
    conditions = kind.row_conditions(obj)
    if conditions:
        doc["conditions"] = conditions
    if include == "Metadata":
        doc["object"] = partial(obj, version, kind.versioned_annotations)
    elif include == "Object":
        doc["object"] = obj
    else:
        doc["object"] = None
    return doc


def table(
    api: Api,
    request: Request,
    endpoint: Endpoint,
    version: str,
    objects: Sequence[Obj],
    meta: Obj,
    *,
    columns: bool = True,
) -> Obj:
    """Objects as a Table."""
    include = table_options(request)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "columnDefinitions": column_definitions(endpoint) if columns else None,
        # Kinds without a printer of their own are listed by another path, which tells no
        # rows as null.
        "rows": [row(api, endpoint, obj, include, version) for obj in objects]
        or ([] if endpoint.custom or kind_has_printer(endpoint) else None),
    }


def list_body(
    api: Api,
    request: Request,
    endpoint: Endpoint,
    items: Sequence[Stored],
    meta: dict[str, Any],
) -> Response:
    """A list of stored objects, in the representation asked for."""
    accepted = accept(request.headers.get("Accept") or "")
    if not accepted.transform and accepted.media == "application/json":
        if not endpoint.identity:
            parts = [endpoint.render(s.data) for s in items]
            if not endpoint.typed_items:
                parts = [orjson.dumps(_untyped(orjson.loads(p))) for p in parts]
        elif endpoint.typed_items:
            head = endpoint.head
            parts = [head + s.data[1:] for s in items]
        else:
            parts = [s.data for s in items]
        doc = {"kind": endpoint.list_kind, "apiVersion": endpoint.api_version, "metadata": meta}
        opening = orjson.dumps(doc)[:-1] + b',"items":['
        if not parts:
            return Response(200, opening + b"]}\n")
        # The brackets go onto the first and last part: the whole is copied only once.
        parts[0] = opening + parts[0]
        parts[-1] += b"]}\n"
        return Response(200, b",".join(parts))
    objects = [endpoint.load(s.data) for s in items]
    listed: Obj
    if accepted.transform == "Table":
        listed = table(api, request, endpoint, accepted.version, objects, _drop_empty(meta))
    elif accepted.transform == "PartialObjectMetadata":
        raise StatusError(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadata, but the requested object is a list "
            f"({_go_name(endpoint, endpoint.list_kind)})",
        )
    elif accepted.transform:
        listed = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"meta.k8s.io/{accepted.version}",
            "metadata": _drop_empty(meta),
            "items": [
                partial(obj, accepted.version, endpoint.kind.versioned_annotations)
                for obj in objects
            ]
            or None,  # Go writes a list that nothing was put into as null
        }
    else:
        if not endpoint.typed_items:
            objects = [_untyped(o) for o in objects]
        listed = {
            "kind": endpoint.list_kind,
            "apiVersion": endpoint.api_version,
            "metadata": meta,
            "items": objects,
        }
    return Response(200, encode(listed, accepted.media), accepted.media)


def _untyped(obj: Obj) -> Obj:
    return {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}
