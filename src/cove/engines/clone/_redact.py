"""What is left of a Secret in a clone: its keys; pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

__all__ = ["REDACTED", "redact"]

REDACTED = b64encode(b"redacted").decode()
# kubectl keeps the whole document there, content and all.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def redact(secret: dict[str, Any]) -> dict[str, Any]:
    """The Secret with "redacted" as the content of every key, and nothing of it elsewhere."""
    out = dict(secret)
    for name in ("data", "stringData"):
        if out.get(name):
            value = REDACTED if name == "data" else "redacted"
            out[name] = dict.fromkeys(out[name], value)
    metadata = dict(out.get("metadata") or {})
    annotations = metadata.get("annotations") or {}
    if _LAST_APPLIED in annotations:
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
        out["metadata"] = metadata
    return out
