"""What a patch can fail with, and how Go prints the values its texts name."""

from __future__ import annotations

from typing import Any

from cove.kube.status import StatusError

__all__ = ["PatchError", "go_format", "malformed", "unprocessable", "unsupported"]


class PatchError(StatusError):
    """A patch that cannot be applied: 400 for its form, 413, 422 or 500 as upstream has it."""


def malformed(message: str) -> PatchError:
    """400: the patch is not what its content type promises."""
    return PatchError(400, "BadRequest", message)


def unprocessable() -> PatchError:
    """422 with the one text that every failed operation of a JSON patch gets."""
    return PatchError(
        422, "Invalid", "the server rejected our request due to an error in our request", {}
    )


def unsupported(message: str) -> PatchError:
    """500 without reason: a fault upstream does not classify."""
    return PatchError(500, "", message)


def go_format(value: Any) -> str:
    """A JSON value as Go's ``%v`` prints it: ``map[a:1 b:[x y]]``, ``<nil>``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_format(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_format, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)
