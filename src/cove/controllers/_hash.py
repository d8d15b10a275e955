"""Hashes that name what was made from a template, written with safe letters.

The digest is FNV-1a over canonical JSON: stable across processes and releases, as the
names of ReplicaSets have to be.  Upstream's is over a dump of Go memory, which no other
program can make, so equal templates have other hashes there.
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["fnv32a", "safe_encode", "template_hash"]

# No vowels and nothing that looks like one: k8s.io/apimachinery/pkg/util/rand.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a digest."""
    digest = 0x811C9DC5
    for byte in data:
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return digest


def safe_encode(text: str) -> str:
    """Each character replaced by one that forms no words."""
    return "".join(_ALPHABET[ord(c) % len(_ALPHABET)] for c in text)


def template_hash(template: Any, collisions: int | None = None) -> str:
    """The hash of a pod template; ``collisions`` tells apart those that met before."""
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collisions is not None:
        data += collisions.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))
