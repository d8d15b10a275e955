"""One webhook asked about one write.

Source: ``plugin/webhook/request`` and the dispatchers beside it.
"""

from __future__ import annotations

import base64
import binascii
import logging
from typing import Any, NamedTuple

import orjson

from cove.kube import status as st
from cove.kube.field_errors import render
from cove.kube.status import CoveError, StatusError
from cove.server.admission._chain import Attributes
from cove.server.admission.policies._evaluate import described
from cove.server.admission.webhooks._hooks import Hook
from cove.server.endpoint import Endpoint
from cove.server.outgoing import CallError, review
from cove.server.uids import new_uid

__all__ = ["Verdict", "WebhookError", "ask", "settle"]

log = logging.getLogger("cove.server.webhooks")

_KNOWN = ("v1", "v1beta1")
GROUP = "admission.k8s.io"


class WebhookError(CoveError):
    """A webhook could not be asked, or its answer is none: failurePolicy decides."""

    def __init__(self, hook: Hook, why: str) -> None:
        super().__init__(f"failed calling webhook {render(hook.name)}: {why}")


class Verdict(NamedTuple):
    """What a webhook answered; ``patch`` is b"" for none."""

    patch: bytes
    patch_type: str


async def ask(hook: Hook, a: Attributes, shown: Endpoint, *, mutating: bool) -> Verdict:
    """Ask, and add the webhook's warnings.

    Raises StatusError if it refuses, or may not be called under dry run, and
    :class:`WebhookError`.
    """
    if a.dry_run and not hook.harmless:
        raise st.bad_request(f"admission webhook {render(hook.name)} does not support dry run")
    version = next((v for v in hook.versions if v in _KNOWN), None)
    if version is None:
        raise WebhookError(
            hook,
            "could not create admission objects: webhook does not accept known AdmissionReview "
            "versions (v1, v1beta1)",
        )
    uid = new_uid()
    document = {
        "kind": "AdmissionReview",
        "apiVersion": f"{GROUP}/{version}",
        "request": _request(uid, a, shown),
    }
    try:
        answer = await review(a.api, hook.target, document, timeout=hook.timeout)
    except CallError as error:
        raise WebhookError(hook, f"failed to call webhook: {error}") from error
    try:
        response = _response(answer, uid, version)
        verdict = _verdict(response, version, mutating=mutating)
    except ValueError as error:
        raise WebhookError(hook, f"received invalid webhook response: {error}") from None
    for warning in response.get("warnings") or ():
        a.request.warn(str(warning))
    if response.get("allowed") is not True:
        raise _denial(hook, response.get("status"))
    return verdict


def settle(hook: Hook, error: WebhookError) -> None:
    """What failurePolicy makes of a failure: 500, or a line in the log."""
    if hook.fails:
        raise st.internal_error(str(error)) from error
    log.warning("%s; its failurePolicy is Ignore", error)


def _request(uid: str, a: Attributes, shown: Endpoint) -> dict[str, Any]:
    """The AdmissionRequest; objects in the version that the webhook asked for."""
    doc: dict[str, Any] = {"uid": uid, **described(a, shown)}
    doc["object"] = _as(a, a.obj, shown)
    doc["oldObject"] = _as(a, a.old, shown)
    return doc


def _as(a: Attributes, obj: dict[str, Any] | None, shown: Endpoint) -> dict[str, Any] | None:
    own = a.endpoint
    if obj is None or shown is own or obj.get("kind", own.kind_name) != own.kind_name:
        return obj
    return own.convert(obj, shown.api_version)


def _response(answer: dict[str, Any], uid: str, version: str) -> dict[str, Any]:
    response = answer.get("response")
    if response is None:
        raise ValueError("webhook response was absent")
    if not isinstance(response, dict):
        raise ValueError("json: cannot unmarshal response into an AdmissionResponse")
    if version == "v1beta1":
        # Neither was checked when there was nothing else, nor is it now.
        return response
    if response.get("uid") != uid:
        raise ValueError(
            f"expected response.uid={render(uid)}, got {render(str(response.get('uid') or ''))}"
        )
    got = _kind(answer.get("apiVersion"), answer.get("kind"))
    want = _kind(f"{GROUP}/v1", "AdmissionReview")
    if got != want:
        raise ValueError(f"expected webhook response of {want}, got {got}")
    return response


def _kind(api_version: Any, kind: Any) -> str:
    return f"{api_version}, Kind={kind}"


def _verdict(response: dict[str, Any], version: str, *, mutating: bool) -> Verdict:
    try:
        patch = base64.b64decode(response.get("patch") or "", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError("illegal base64 data in response.patch") from error
    kind = response.get("patchType")
    if version == "v1beta1":
        return Verdict(patch if mutating else b"", "JSONPatch")
    if not mutating:
        if patch:
            raise ValueError("validating webhook may not return response.patch")
        if kind is not None:
            raise ValueError("validating webhook may not return response.patchType")
        return Verdict(b"", "")
    if patch and kind is None:
        raise ValueError("webhook returned response.patch but not response.patchType")
    if not patch and kind is not None:
        raise ValueError("webhook returned response.patchType but not response.patch")
    if kind == "":
        raise ValueError('webhook returned invalid response.patchType of ""')
    return Verdict(patch, str(kind or ""))


def _denial(hook: Hook, result: Any) -> StatusError:
    """A refusal as the webhook's Status tells it, never as a success."""
    status = result if isinstance(result, dict) else {}
    code = status.get("code") or 0
    by = f"admission webhook {render(hook.name)} denied the request"
    why = status.get("message") or status.get("reason")
    return StatusError(
        code if isinstance(code, int) and code >= 400 else 400,
        str(status.get("reason") or ""),
        f"{by}: {why}" if why else f"{by} without explanation",
        status.get("details"),
    )


def read_patch(hook: Hook, verdict: Verdict) -> list[dict[str, Any]]:
    """The operations of a JSON patch; raises :class:`WebhookError`."""
    if not verdict.patch:
        return []
    try:
        found = orjson.loads(verdict.patch)
        if found is not None and (
            not isinstance(found, list) or not all(isinstance(op, dict) for op in found)
        ):
            raise ValueError("json: cannot unmarshal into Go value of type jsonpatch.Patch")
    except ValueError as error:
        raise WebhookError(
            hook, f"received undecodable patch in webhook response: {error}"
        ) from None
    if found and verdict.patch_type != "JSONPatch":
        raise WebhookError(hook, f"unsupported patch type {render(verdict.patch_type)}")
    return found or []
