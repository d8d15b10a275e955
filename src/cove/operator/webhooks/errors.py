"""How a webhook says no, and what can be wrong with webhooks.

::

    CoveError
    ├── Denied                     raised by a handler: the write is refused
    │   └── Invalid                because of a field
    └── WebhookError               webhooks that cannot be served or registered
        ├── UnreachableWebhooksError  the API server does not reach this process
        ├── ConversionError        an object that cannot be had in another version
        └── RoundTripError         a conversion that loses something
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cove.kube.status import CoveError

__all__ = [
    "ConversionError",
    "Denied",
    "Invalid",
    "RoundTripError",
    "UnreachableWebhooksError",
    "WebhookError",
]

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Denied(CoveError):  # noqa: N818 - not a fault: it is what a handler answers
    """The write is refused; who wrote reads ``message``.

    ``code`` is the HTTP status, 400 to 599; ``reason`` the word for programs, None the one
    that Kubernetes has for the code.
    """

    def __init__(self, message: str, *, code: int = 403, reason: str | None = None) -> None:
        super().__init__(message)
        if not 400 <= code <= 599:
            raise ValueError(f"code {code}: a refusal has one from 400 to 599")
        self.message = message
        self.code = code
        self.reason = _REASONS.get(code, "") if reason is None else reason

    @property
    def causes(self) -> list[dict[str, str]]:
        """What is wrong where, as a Status tells it; kubectl shows these."""
        return []


class Invalid(Denied):
    """The object cannot be so; ``field`` is which of its fields (``spec.size``), "" for all."""

    def __init__(
        self, message: str, *, field: str = "", code: int = 422, reason: str | None = None
    ) -> None:
        super().__init__(f"{field}: {message}" if field else message, code=code, reason=reason)
        cause = {"reason": "FieldValueInvalid", "message": message}
        self._causes = [{**cause, "field": field} if field else cause]

    @classmethod
    def all(cls, faults: Iterable[Invalid]) -> Invalid:
        """All that is wrong with an object at once; raises ValueError for nothing."""
        found = list(faults)
        if not found:
            raise ValueError("nothing is wrong: there is nothing to raise")
        made = cls(
            "; ".join(fault.message for fault in found),
            code=found[0].code,
            reason=found[0].reason,
        )
        made._causes = [cause for fault in found for cause in fault.causes]
        return made

    @property
    def causes(self) -> list[dict[str, str]]:
        """The fields and what is wrong with them."""
        return self._causes


class WebhookError(CoveError):
    """Webhooks that cannot be served or registered."""


class UnreachableWebhooksError(WebhookError):
    """The API server does not reach this process; the text says what it tried."""


class ConversionError(WebhookError):
    """An object that cannot be had in another version, named, and why."""


class RoundTripError(WebhookError):
    """There and back again an object was another one; ``differences`` is the JSON Patch to it."""

    def __init__(self, message: str, differences: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.differences = differences
