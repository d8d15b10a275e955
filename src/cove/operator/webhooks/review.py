"""AdmissionReview and ConversionReview: what comes in, strictly; what goes out.

Pure.  Fields that a newer API server adds are passed over; what is there is of its type, or
the review is refused with the field that is not.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
and ``apiextensions.k8s.io/v1`` ConversionReview.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from cove.kube.gvk import GVK, GVR
from cove.operator.webhooks.errors import Denied

__all__ = [
    "AdmissionRequest",
    "BadReviewError",
    "ConversionRequest",
    "Operation",
    "admission_answer",
    "conversion_answer",
    "read_admission",
    "read_conversion",
]

Doc = dict[str, Any]
Operation = Literal["create", "update", "delete"]
ADMISSION = "admission.k8s.io/v1"
CONVERSION = "apiextensions.k8s.io/v1"


class BadReviewError(ValueError):
    """What came in is no review that this webhook answers."""


class AdmissionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes what.

    ``object`` and ``old_object`` are the raw documents, None where there is none; not to be
    changed.  ``user``, ``user_uid``, ``groups`` and ``extra`` are the writer's; ``options`` are
    those of the write (``CreateOptions`` …).  ``request_kind`` and ``request_resource`` are
    what was written to, which may be another version than the one asked about.
    """

    uid: str
    operation: Operation
    kind: GVK
    resource: GVR
    request_kind: GVK
    request_resource: GVR
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    user: str = ""
    user_uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    dry_run: bool = False
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    object: Doc | None = None
    old_object: Doc | None = None


class ConversionRequest(msgspec.Struct, frozen=True):
    """Which objects are to be had in which version."""

    uid: str
    api_version: str
    objects: list[Doc]


# -- as it is on the wire


class _Kind(msgspec.Struct):
    version: str
    kind: str
    group: str = ""


class _Resource(msgspec.Struct):
    version: str
    resource: str
    group: str = ""


class _User(msgspec.Struct):
    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _Request(msgspec.Struct, rename="camel"):
    uid: str
    kind: _Kind
    resource: _Resource
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    user_info: _User = msgspec.field(default_factory=_User)
    request_kind: _Kind | None = None
    request_resource: _Resource | None = None
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    object: Doc | None = None
    old_object: Doc | None = None
    dry_run: bool | None = None
    options: Doc | None = None


class _Conversion(msgspec.Struct):
    uid: str
    objects: list[Doc]
    api_version: str = msgspec.field(name="desiredAPIVersion")


class _Admission(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Request


class _ConversionReview(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    request: _Conversion


R = TypeVar("R", _Admission, _ConversionReview)


def _read(type_: type[R], data: bytes, api_version: str, kind: str) -> R:
    try:
        # Which review it is comes before what is in it: that is the plainer answer.
        head = msgspec.json.decode(data, type=Doc)
        said = f"{head.get('apiVersion')} {head.get('kind')}"
        if said != f"{api_version} {kind}":
            raise BadReviewError(f"expected {api_version} {kind}, got {said}")
        review = msgspec.convert(head, type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise BadReviewError(f"no {kind}: {e}") from e
    if not review.request.uid:
        raise BadReviewError(f"no {kind}: request.uid is empty")
    return review


def read_admission(data: bytes) -> AdmissionRequest:
    """The request of an AdmissionReview; raises BadReviewError."""
    asked = _read(_Admission, data, ADMISSION, "AdmissionReview").request
    if asked.operation == "CONNECT":
        raise BadReviewError("operation CONNECT: no webhook of an operator is about connections")
    operation: Any = asked.operation.lower()
    missing = {"object": asked.object, "oldObject": asked.old_object}
    for field, on in (("object", ("create", "update")), ("oldObject", ("update", "delete"))):
        if operation in on and missing[field] is None:
            raise BadReviewError(f"no AdmissionReview: request.{field} is not there")
    kind, resource = _gvk(asked.kind), _gvr(asked.resource)
    return AdmissionRequest(
        uid=asked.uid,
        operation=operation,
        kind=kind,
        resource=resource,
        request_kind=_gvk(asked.request_kind) if asked.request_kind else kind,
        request_resource=_gvr(asked.request_resource) if asked.request_resource else resource,
        subresource=asked.sub_resource,
        name=asked.name,
        namespace=asked.namespace,
        user=asked.user_info.username,
        user_uid=asked.user_info.uid,
        groups=tuple(asked.user_info.groups or ()),
        extra=asked.user_info.extra or {},
        dry_run=bool(asked.dry_run),
        options=asked.options or {},
        object=asked.object,
        old_object=asked.old_object,
    )


def read_conversion(data: bytes) -> ConversionRequest:
    """The request of a ConversionReview; raises BadReviewError."""
    asked = _read(_ConversionReview, data, CONVERSION, "ConversionReview").request
    return ConversionRequest(asked.uid, asked.api_version, asked.objects)


def _gvk(kind: _Kind) -> GVK:
    return GVK(kind.group, kind.version, kind.kind)


def _gvr(resource: _Resource) -> GVR:
    return GVR(resource.group, resource.version, resource.resource)


# -- answers


def admission_answer(
    request: AdmissionRequest,
    *,
    refusal: Denied | None = None,
    warnings: Sequence[str] = (),
    patch: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """The AdmissionReview that answers; a patch is left out of a refusal, and when empty."""
    response: Doc = {"uid": request.uid, "allowed": refusal is None}
    if refusal is not None:
        response["status"] = _status(request, refusal)
    elif patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(patch)).decode()
    if warnings:
        # They become headers: those are of one line.
        response["warnings"] = [" ".join(str(text).split()) for text in warnings]
    return _review(ADMISSION, "AdmissionReview", response)


def _status(request: AdmissionRequest, refusal: Denied) -> Doc:
    status: Doc = {"status": "Failure", "code": refusal.code, "message": refusal.message}
    if refusal.reason:
        status["reason"] = refusal.reason
    if refusal.causes:
        details = {"name": request.name, "group": request.kind.group, "kind": request.kind.kind}
        status["details"] = {**{k: v for k, v in details.items() if v}, "causes": refusal.causes}
    return status


def conversion_answer(uid: str, objects: list[Doc], failure: str = "") -> bytes:
    """The ConversionReview that answers: the objects in their order, or why there are none."""
    result: Doc = {"status": "Failure", "message": failure} if failure else {"status": "Success"}
    response = {"uid": uid, "convertedObjects": [] if failure else objects, "result": result}
    return _review(CONVERSION, "ConversionReview", response)


def _review(api_version: str, kind: str, response: Doc) -> bytes:
    return msgspec.json.encode({"apiVersion": api_version, "kind": kind, "response": response})
