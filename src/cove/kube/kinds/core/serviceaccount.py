"""ServiceAccount."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cove.kube.kinds._kind import Kind, Obj
from cove.kube.kinds._table import age

__all__ = ["ServiceAccount"]


class ServiceAccount(Kind):
    """Who a pod is towards the API."""

    returns_deleted = True

    def row(self, obj: Obj, now: datetime) -> list[Any]:
        return [obj["metadata"].get("name", ""), age(obj, now)]
