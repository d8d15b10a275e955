"""Content negotiation: which representation a request asks for, and how bodies are typed.

Representations are JSON or YAML, of the object itself, of a Table or of its metadata only
(``as=Table|PartialObjectMetadata|PartialObjectMetadataList;g=meta.k8s.io;v=v1``).
Protobuf is told as unacceptable, which is what every client falls back from.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from cove.kube.status import StatusError

__all__ = ["OPENAPI_PROTOBUF", "Accepted", "accept", "accept_openapi", "media_type"]

MEDIA_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
# The Swagger 2 document as gnostic's message.
OPENAPI_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

As = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]


class Accepted(NamedTuple):
    """What to answer with; ``version`` is meta.k8s.io's, for the transformed forms."""

    media: str  # "application/json" or "application/yaml"
    transform: As = ""
    version: str = ""


JSON = Accepted("application/json")
_TYPES = {"application/json": "application/json", "application/yaml": "application/yaml"}
_TRANSFORMS = frozenset(("Table", "PartialObjectMetadata", "PartialObjectMetadataList"))


def _not_acceptable(message: str, *, details: bool) -> StatusError:
    return StatusError(406, "NotAcceptable", message, {} if details else None)


def _clauses(header: str) -> list[tuple[float, int, str, dict[str, str]]]:
    """The header's media ranges, best first."""
    out = []
    for index, clause in enumerate(header.split(",")):
        name, *parameters = [p.strip() for p in clause.split(";")]
        values = {}
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            values[key.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(values.pop("q", "1"))
        except ValueError:
            quality = 1.0
        out.append((-quality, index, name.lower(), values))
    out.sort(key=lambda c: c[:2])
    return out


@lru_cache(maxsize=256)
def accept(header: str) -> Accepted:
    """The representation to answer with; raises 406 if none of the header's can be had."""
    if not header or header == "application/json":
        return JSON
    refused = False
    for _, _, name, values in _clauses(header):
        media = _TYPES.get(name) or ("application/json" if name in ("*/*", "") else None)
        if media is None:
            continue
        transform = values.get("as", "")
        if not transform:
            return Accepted(media)
        if (
            transform in _TRANSFORMS
            and values.get("g") == "meta.k8s.io"
            and values.get("v") in ("v1", "v1beta1")
        ):
            return Accepted(media, transform, values["v"])  # type: ignore[arg-type]  # in _TRANSFORMS
        refused = True
    if refused:
        raise _not_acceptable(
            f"only the following media types are accepted: {MEDIA_TYPES}", details=False
        )
    raise _not_acceptable(
        f"406: Not Acceptable\n\nAvailable representations: {MEDIA_TYPES}", details=True
    )


@lru_cache(maxsize=64)
def accept_plain(header: str, offered: str = MEDIA_TYPES) -> str:
    """The media type for documents that have no alternate representation (discovery, Status)."""
    if not header:
        return "application/json"
    refused = False
    for _, _, name, values in _clauses(header):
        if values.get("as"):
            refused = True
            continue
        media = _TYPES.get(name) or ("application/json" if name in ("*/*", "") else None)
        if media is not None:
            return media
    if refused:
        raise _not_acceptable(
            f"only the following media types are accepted: {offered}", details=False
        )
    raise _not_acceptable(
        f"406: Not Acceptable\n\nAvailable representations: {offered}", details=True
    )


# What clients ask for, and what they are told that they got.
_OPENAPI = {
    "application/json": "application/json",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf": OPENAPI_PROTOBUF,
    OPENAPI_PROTOBUF: OPENAPI_PROTOBUF,
}


@lru_cache(maxsize=64)
def accept_openapi(header: str) -> str:
    """The media type for the Swagger 2 document: JSON or protobuf.

    Upstream refuses what is neither with 406; here that gets JSON, as it always did.

    Source: ``pkg/handler/handler.go`` of kube-openapi.
    """
    for _, _, name, _ in _clauses(header):
        if name in _OPENAPI:
            return _OPENAPI[name]
        if name in ("*/*", "application/*"):
            break
    return "application/json"


def status_media(header: str) -> str:
    """The media type an error is told in: JSON unless YAML was asked for."""
    try:
        return accept_plain(header)
    except StatusError:
        return "application/json"


def media_type(header: str) -> str:
    """A Content-Type header without its parameters, lower case; JSON if absent."""
    if not header:
        return "application/json"
    return header.partition(";")[0].strip().lower()
