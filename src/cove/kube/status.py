"""Status: the one form in which a Kubernetes API server says no.

:class:`StatusError` carries code, reason, message and details; it is raised by
whatever finds the fault and rendered in one place, by the server.  The builders
below give the texts of ``k8s.io/apimachinery/pkg/api/errors``.

Source: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/#status-v1-meta
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cove.kube.field_errors import FieldError

__all__ = [
    "CoveError",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal_error",
    "invalid",
    "method_not_supported",
    "not_found",
    "not_found_generic",
    "request_entity_too_large",
    "resource_name",
    "success",
    "timeout",
    "too_many_requests",
    "unauthorized",
    "unsupported_media_type",
]


class CoveError(Exception):
    """The root of every error cove raises on purpose."""


class StatusError(CoveError):
    """An answer of an API server with ``kind: Status`` and ``status: Failure``.

    ``details`` is the Status' details as a document ({"kind", "name", "causes", …}) or None.
    """

    def __init__(
        self, code: int, reason: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        """The Status document."""
        doc: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            doc["reason"] = self.reason
        if self.details is not None:
            doc["details"] = self.details
        doc["code"] = self.code
        return doc

    @classmethod
    def from_body(cls, code: int, doc: dict[str, Any]) -> StatusError:
        """The error that a server's Status document tells."""
        return cls(
            int(doc.get("code") or code),
            str(doc.get("reason") or ""),
            str(doc.get("message") or f"the server answered {code}"),
            doc.get("details"),
        )


def resource_name(resource: str, group: str) -> str:
    """``deployments.apps``; the core group is left out: ``pods``."""
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    return details


def success(resource: str, group: str, name: str, uid: str = "") -> dict[str, Any]:
    """The Status document of a completed deletion."""
    details = _details(resource, group, name)
    if uid:
        details["uid"] = uid
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def not_found(resource: str, group: str, name: str) -> StatusError:
    """404 for a named object."""
    return StatusError(
        404,
        "NotFound",
        f'{resource_name(resource, group)} "{name}" not found',
        _details(resource, group, name),
    )


def not_found_generic() -> StatusError:
    """404 for a resource or path the server does not have."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: str, group: str, name: str) -> StatusError:
    """409 for a create of a name that is taken."""
    return StatusError(
        409,
        "AlreadyExists",
        f'{resource_name(resource, group)} "{name}" already exists',
        _details(resource, group, name),
    )


def conflict(resource: str, group: str, name: str, why: str) -> StatusError:
    """409 for a write against a state that has moved on."""
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource_name(resource, group)} "{name}": {why}',
        _details(resource, group, name),
    )


def forbidden(resource: str, group: str, name: str, why: str) -> StatusError:
    """403, by authorization or admission."""
    full = resource_name(resource, group)
    if not full:
        message = f"forbidden: {why}"
    elif name:
        message = f'{full} "{name}" is forbidden: {why}'
    else:
        message = f"{full} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(resource, group, name))


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    """401."""
    return StatusError(401, "Unauthorized", message)


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422 with the causes of a failed validation; ``kind`` is the Kind, not the resource.

    Several errors are listed in brackets, as ``field.ErrorList.ToAggregate`` does;
    repeated texts are told once.
    """
    causes = [{"reason": e.reason, "message": e.text, "field": e.field} for e in errors]
    texts = list(dict.fromkeys(f"{e.field}: {e.text}" for e in errors))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = _details(kind, group, name)
    message = f'{resource_name(kind, group)} "{name}" is invalid'
    if errors:
        details["causes"] = causes
        message += f": {joined}"
    return StatusError(422, "Invalid", message, details)


def method_not_supported(resource: str, group: str, action: str) -> StatusError:
    """405."""
    return StatusError(
        405,
        "MethodNotAllowed",
        f'{action} is not supported on resources of kind "{resource_name(resource, group)}"',
        _details(resource, group, ""),
    )


def internal_error(message: str) -> StatusError:
    """500, told as upstream tells an unexpected error."""
    return StatusError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )


def expired(message: str) -> StatusError:
    """410: the resource version is no longer in the window."""
    return StatusError(410, "Expired", message)


def timeout(message: str, retry_after: int = 0) -> StatusError:
    """504."""
    details: dict[str, Any] = {}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    return StatusError(504, "Timeout", f"Timeout: {message}", details)


def too_many_requests(message: str, retry_after: int = 0) -> StatusError:
    """429; ``retry_after`` in seconds, 0 for none."""
    details: dict[str, Any] = {"retryAfterSeconds": retry_after} if retry_after else {}
    return StatusError(429, "TooManyRequests", message, details)


def request_entity_too_large(limit: int) -> StatusError:
    """413 for a body above ``limit`` bytes."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media_type(message: str) -> StatusError:
    """415."""
    return StatusError(415, "UnsupportedMediaType", message)
