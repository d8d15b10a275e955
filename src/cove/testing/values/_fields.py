"""Attributes of documents: which key ``pod.status.pod_ip`` means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from cove.kube.schema import Node

__all__ = ["camel", "key_of", "suggestion"]

_CACHE = "testing.attributes"


def camel(name: str) -> str:
    """``cluster_ip`` → ``clusterIp``; ``from_`` and ``_continue`` stand for Python's keywords."""
    first, *rest = name.strip("_").split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _squashed(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def key_of(name: str, document: Mapping[str, Any], node: Node | None) -> str | None:
    """The key that an attribute stands for: one that is there, or a field that is not set.

    Exactly, then in camelCase, then however it is written, if that leaves one.  Keys of maps
    (labels) are nobody's spelling: they are exact.  None if there is no such key; raises
    AttributeError if there are several.
    """
    if name in document:
        return name
    if node is not None and node.type == "map":
        return None
    known = node.fields if node is not None else {}
    for candidate in (name, camel(name)):
        if candidate in document or candidate in known:
            return candidate
    wanted = _squashed(name)
    if not wanted:
        return None
    found = {key for key in document if _squashed(key) == wanted}
    if node is not None:
        found |= _names(node).get(wanted, set())
    if len(found) > 1:
        raise AttributeError(f"{name!r} may be any of {', '.join(sorted(found))}: use [...]")
    return found.pop() if found else None


def _names(node: Node) -> dict[str, set[str]]:
    known: dict[str, set[str]] | None = node.cache.get(_CACHE)
    if known is None:
        known = {}
        for name in node.fields:
            known.setdefault(_squashed(name), set()).add(name)
        node.cache[_CACHE] = known
    return known


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """``, did you mean 'phase'?`` or ""."""
    by_name = {_squashed(key): key for key in candidates}
    close = difflib.get_close_matches(_squashed(name), by_name, n=1, cutoff=0.6)
    return f", did you mean {by_name[close[0]]!r}?" if close else ""
