"""Webhooks of an operator: validate, change and convert objects while they are written.

::

    @op.validate(Cache)
    def check(new: Cache, old: Cache | None) -> None:
        if old and new.spec.size < old.spec.size - 3:
            raise Invalid("shrinks too fast", field="spec.size")

    async with Webhooks(op, client):
        ...
"""

from __future__ import annotations

from cove.operator.webhooks.certificates import Certificates, Keys, Lifetimes
from cove.operator.webhooks.configurations import (
    ClientConfig,
    Rights,
    conversion,
    rights,
    webhook_configurations,
)
from cove.operator.webhooks.errors import (
    ConversionError,
    Denied,
    Invalid,
    RoundTripError,
    UnreachableWebhooksError,
    WebhookError,
)
from cove.operator.webhooks.hooks import Webhooks
from cove.operator.webhooks.hub import Conversion, check_round_trip
from cove.operator.webhooks.registration import unregister
from cove.operator.webhooks.review import AdmissionRequest
from cove.operator.webhooks.server import WebhookServer

__all__ = [
    "AdmissionRequest",
    "Certificates",
    "ClientConfig",
    "Conversion",
    "ConversionError",
    "Denied",
    "Invalid",
    "Keys",
    "Lifetimes",
    "Rights",
    "RoundTripError",
    "UnreachableWebhooksError",
    "WebhookError",
    "WebhookServer",
    "Webhooks",
    "check_round_trip",
    "conversion",
    "rights",
    "unregister",
    "webhook_configurations",
]
