"""Random identifiers: of objects, and of requests in the audit log."""

from __future__ import annotations

import os

__all__ = ["new_uid"]

# So many are made at once: the kernel is asked once for all of them.
MADE = 64
# The first digit of the fourth part says that the rest is random (RFC 9562, version 4).
_VARIANT = "89ab" * 4
_made: list[str] = []


def new_uid() -> str:
    """A random UUID as text."""
    try:
        return _made.pop()
    except IndexError:
        digits = os.urandom(16 * MADE).hex()
        fresh = [_text(digits[at : at + 32]) for at in range(0, len(digits), 32)]
        last = fresh.pop()
        _made.extend(fresh)
        return last


def _text(d: str) -> str:
    return f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANT[int(d[16], 16)]}{d[17:20]}-{d[20:]}"


# Two processes would give the same ones away.
os.register_at_fork(after_in_child=_made.clear)
