"""certificatesigningrequests/approval: conditions Approved, Denied and Failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cove.kube.field_errors import FieldError
from cove.kube.kinds._kind import Obj
from cove.server.registry import Handler
from cove.server.subresources.pods import part

__all__ = ["approval"]


def approval(kind: Callable[[], Any]) -> dict[str, Handler]:
    """The handlers; ``kind`` gives the strategy of CertificateSigningRequests, loaded lazily."""

    def prepare(new: Obj, old: Obj) -> None:
        kind().prepare_approval(new, old)

    def validate(new: Obj, old: Obj) -> list[FieldError]:
        found: list[FieldError] = kind().validate_approval(new, old)
        return found

    return part("approval", prepare, validate)
