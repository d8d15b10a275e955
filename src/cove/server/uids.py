"""Random identifiers: of objects, and of requests in the audit log."""

from __future__ import annotations

from os import urandom

__all__ = ["new_uid"]

# The bits that tell a random UUID (RFC 9562, version 4).
_CLEAR = ~((0xF << 76) | (0x3 << 62))
_SET = (0x4 << 76) | (0x2 << 62)


def new_uid() -> str:
    """A random UUID as text; made at every request, so without :class:`uuid.UUID`'s detour."""
    digits = f"{int.from_bytes(urandom(16)) & _CLEAR | _SET:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
