"""Request bodies: from bytes to a document of the endpoint's type.

The order of the checks and their texts are those of apiserver's create and update
handlers (``pkg/endpoints/handlers``): media type, syntax, kind, type, unknown fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cove.kube import catalogue
from cove.kube import status as st
from cove.kube.catalogue import codec, protobuf
from cove.kube.catalogue._text import TextError
from cove.kube.kinds._kind import Obj
from cove.server.endpoint import Endpoint
from cove.server.negotiate import MEDIA_TYPES, media_type
from cove.server.request import Request

__all__ = ["Parsed", "check_type", "decode_object", "parse"]


class Parsed(NamedTuple):
    """A body as plain JSON values; ``raw`` is its text if that was JSON."""

    doc: Any
    raw: bytes | None
    problems: Sequence[str]


def parse(request: Request, kind: str) -> Parsed:
    """Read the body; raises 415 for other media types and 400 for syntax errors."""
    media = media_type(request.headers.get("Content-Type") or "")
    body = request.body
    try:
        if media == "application/json":
            return Parsed(codec.load_json(body), body, ())
        if media == "application/yaml":
            doc, problems = codec.load_yaml(body)
            return Parsed(doc, None, problems)
        if media == "application/vnd.kubernetes.protobuf":
            return Parsed(protobuf.decode(body), None, ())
    except TextError as e:
        why = str(e)
        if media == "application/json":
            why = f"couldn't get version/kind; json parse error: {why}"
            if kind == "DeleteOptions":
                # Options are read by another decoder, which tells the fault alone.
                raise st.bad_request(why) from e
        raise st.bad_request(codec.unrecognized(kind, why, body)) from e
    except protobuf.ProtobufError as e:
        raise st.bad_request(codec.unrecognized(kind, str(e), body)) from e
    raise st.unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types "
        f"include: {MEDIA_TYPES}"
    )


def decode_object(request: Request, endpoint: Endpoint, validation: str) -> Obj:
    """The body as an object of the endpoint, defaulted.

    Problems that ``validation`` lets pass become warnings of the request.
    """
    parsed = parse(request, endpoint.kind_name)
    doc = check_type(
        request,
        parsed.doc,
        endpoint.kind_name,
        endpoint.api_version,
        custom=endpoint.custom,
    )
    obj, problems = endpoint.decode(
        doc, validation, raw=parsed.raw, problems=_bare(parsed.problems, validation)
    )
    for problem in problems:
        request.warn(problem)
    endpoint.kind.default(obj)
    return obj


def _bare(problems: Sequence[str], validation: str) -> Sequence[str]:
    """YAML's repeated keys: warnings tell the line alone, a refusal the parser's whole text."""
    if validation == "Strict":
        return problems
    return [line.strip() for text in problems for line in text.split("\n")[1:] or [text]]


def check_type(
    request: Request, doc: Any, kind: str, api_version: str, *, custom: bool = False
) -> Obj:
    """The document with kind and apiVersion filled in; raises 400 if it has others."""
    try:
        got = codec.type_meta(doc)
    except TextError as e:
        raise st.bad_request(codec.unrecognized(kind, str(e), request.body)) from e
    if custom:
        # Custom resources are read without a scheme that could fill in what is missing.
        if not got.kind:
            shown = request.body.decode(errors="replace")
            why = f"Object 'Kind' is missing in '{shown}'"
            raise st.bad_request(codec.unrecognized(kind, why, request.body))
        if got.api_version != api_version:
            raise _other_version(got.api_version, api_version)
        return doc  # type: ignore[no-any-return]  # another kind is a matter of validation
    doc = doc or {}
    got_kind, got_version = got.kind or kind, got.api_version or api_version
    if (got_kind, got_version) == (kind, api_version):
        if got.kind and got.api_version:
            return doc  # type: ignore[no-any-return]  # type_meta takes nothing but objects
        return {**doc, "kind": kind, "apiVersion": api_version}
    version = got_version.rpartition("/")[2]
    prefix = f'{got_kind} in version "{version}" cannot be handled as a {kind}: '
    if not _registered(got_kind, got_version):
        raise st.bad_request(
            f'{prefix}no kind "{got_kind}" is registered for version "{got_version}" in scheme '
            '"pkg/api/legacyscheme/scheme.go:30"'
        )
    if got_kind != kind:
        group = api_version.rpartition("/")[0].split(".")[0] or "core"
        raise st.bad_request(
            f"{prefix}converting ({version}.{got_kind}) to ({group}.{kind}): unknown conversion"
        )
    raise _other_version(got_version, api_version)


def _other_version(got: str, want: str) -> st.StatusError:
    return st.bad_request(
        f"the API version in the data ({got}) does not match the expected API version ({want})"
    )


def _registered(kind: str, api_version: str) -> bool:
    group, _, version = api_version.rpartition("/")
    try:
        catalogue.schema(group, version, kind)
    except KeyError:
        return False
    return True
