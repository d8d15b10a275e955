"""Request bodies: from bytes to a document of the endpoint's type.

The order of the checks and their texts are those of apiserver's create and update
handlers (``pkg/endpoints/handlers``): media type, syntax, kind, type, unknown fields.
"""

from __future__ import annotations

from typing import Any

import orjson

from cove.kube import status as st
from cove.kube.catalogue import codec
from cove.kube.kinds._kind import Obj
from cove.server.endpoint import Endpoint
from cove.server.negotiate import MEDIA_TYPES, media_type
from cove.server.request import Request

__all__ = ["decode_object", "parse"]


def parse(request: Request, kind: str) -> tuple[Any, list[str]]:
    """The body as plain JSON values, and the duplicate fields found in it.

    Raises 415 for other media types and 400 for syntax errors.
    """
    media = media_type(request.headers.get("Content-Type") or "")
    body = request.body
    if media == "application/yaml":
        return codec.load_yaml(body, kind)
    if media != "application/json":
        raise st.unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types "
            f"include: {MEDIA_TYPES}"
        )
    return codec.load_json(body, kind)


def decode_object(
    request: Request,
    endpoint: Endpoint,
    validation: str,
    *,
    kind_name: str = "",
    api_version: str = "",
) -> Obj:
    """The body as an object of the endpoint, defaulted.

    Problems that ``validation`` lets pass become warnings of the request.
    """
    doc, problems = parse(request, kind_name or endpoint.kind_name)
    doc = check_type(doc, kind_name or endpoint.kind_name, api_version or endpoint.api_version)
    obj, unknown = endpoint.decode(doc, validation)
    report(request, validation, problems + unknown, endpoint.kind_name, endpoint.version)
    endpoint.kind.default(obj)
    return obj


def report(
    request: Request, validation: str, problems: list[str], kind: str, version: str
) -> None:
    """Tell unknown and duplicate fields as fieldValidation asks: nothing, warnings, or 400."""
    if not problems or validation == "Ignore":
        return
    if validation == "Strict":
        raise st.bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: '
            f"strict decoding error: {codec.join_problems(problems)}"
        )
    for problem in problems:
        request.warn(problem)


def check_type(doc: Any, kind: str, api_version: str) -> Obj:
    """The document with kind and apiVersion filled in; raises 400 if it has others."""
    if doc is None:
        doc = {}
    if not isinstance(doc, dict):
        raise st.bad_request(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{codec.json_type(doc)} into Go value of type struct "
            '{ APIVersion string "json:\\"apiVersion,omitempty\\""; '
            'Kind string "json:\\"kind,omitempty\\"" }'
        )
    got_kind, got_version = doc.get("kind"), doc.get("apiVersion")
    if (got_kind is None or got_kind == kind) and (
        got_version is None or got_version == api_version
    ):
        if got_kind is None or got_version is None:
            doc = {**doc, "kind": kind, "apiVersion": api_version}
        return doc
    return _other_type(doc, kind, api_version)


def _other_type(doc: Obj, kind: str, api_version: str) -> Obj:
    got_kind = doc.get("kind")
    got_version = doc.get("apiVersion")
    for name, value in (("apiVersion", got_version), ("kind", got_kind)):
        if value is not None and not isinstance(value, str):
            raise st.bad_request(
                "couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"{codec.json_type(value)} into Go struct field .{name} of type string"
            )
    got_kind = got_kind or kind
    got_version = got_version or api_version
    if (got_kind, got_version) == (kind, api_version):
        return {**doc, "kind": kind, "apiVersion": api_version}
    group, _, version = str(got_version).rpartition("/")
    want_group, _, want_version = api_version.rpartition("/")
    raise st.bad_request(
        f"the object provided is unrecognized (must be of type {kind}): "
        if False
        else (
            f"{got_kind} in version {orjson.dumps(version).decode()} cannot be handled as a {kind}: "
            f"no kind {orjson.dumps(got_kind).decode()} is registered for version "
            f"{orjson.dumps(got_version).decode()} in scheme"
            if (group, version) == (want_group, want_version)
            else f"the API version in the data ({got_version}) does not match the expected API "
            f"version ({api_version})"
        )
    )
