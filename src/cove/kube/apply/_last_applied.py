"""kubectl's way from client-side to server-side apply.

What the last-applied annotation explains is no conflict for the manager "kubectl", and
the annotation follows what kubectl applies.

Source: ``k8s.io/apimachinery/pkg/util/managedfields/internal/lastappliedmanager.go``.
"""

from __future__ import annotations

from typing import Any

import orjson

from cove.kube.apply._context import Context
from cove.kube.apply._errors import ApplyConflictError
from cove.kube.apply._managed import ManagerId
from cove.kube.apply._typed import type_errors
from cove.kube.apply._walk import walker
from cove.kube.apply.fieldset import LEAF, difference, has

__all__ = ["LAST_APPLIED", "beyond_last_applied", "renew_last_applied"]

Obj = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def beyond_last_applied(
    conflict: ApplyConflictError, live: Obj, ctx: Context
) -> list[tuple[ManagerId, tuple[str, ...]]]:
    """The conflicts that a former client-side apply does not explain."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        applied = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return conflict.conflicts
    if (
        not isinstance(applied, dict)
        or applied.get("apiVersion") != ctx.api_version
        or type_errors(applied, ctx.schema)
    ):
        return conflict.conflicts
    walk = walker(ctx.schema)
    changed, removed = walk.compare(applied, live) if applied != live else (None, None)
    owned = walk.own(applied) or LEAF
    for gone in (changed, removed):
        if gone:
            owned = difference(owned, gone)
    return [(who, path) for who, path in conflict.conflicts if not has(owned, path)]


def renew_last_applied(result: Obj, config: Obj) -> Obj:
    meta = result.get("metadata") or {}
    annotations = meta.get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return result
    applied = dict(config)
    applied_meta = dict(applied.get("metadata") or {})
    if "annotations" in applied_meta:
        rest = {k: v for k, v in (applied_meta["annotations"] or {}).items() if k != LAST_APPLIED}
        applied_meta["annotations"] = rest
    applied["metadata"] = applied_meta
    text = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    return {
        **result,
        "metadata": {**meta, "annotations": {**annotations, LAST_APPLIED: text}},
    }
