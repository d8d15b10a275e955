"""Violation: what a check finds, and the words the checks share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = [
    "Check",
    "Obj",
    "Violation",
    "containers",
    "context",
    "many",
    "named",
    "quoted",
    "quoted_value",
    "setters",
]

Obj = dict[str, Any]


class Violation(NamedTuple):
    """Why a pod does not fit: ``reason`` in a few words, ``detail`` who and what; "" for none."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


# A check is given the metadata and the spec of a pod or of a pod template.
Check = Callable[[Obj, Obj], Violation | None]


def containers(spec: Obj) -> Iterator[Obj]:
    """Every container of a pod spec, of whatever sort, in upstream's order."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()


def context(holder: Obj) -> Obj:
    """The securityContext of a pod spec or container; empty where there is none."""
    found: Obj = holder.get("securityContext") or {}
    return found


def many(singular: str, plural: str, count: int) -> str:
    """The singular for exactly one."""
    return singular if count == 1 else plural


def quoted(items: Sequence[str]) -> str:
    """``"a", "b"``."""
    return '"' + '", "'.join(items) + '"' if items else ""


def quoted_value(key: str, value: str) -> str:
    """``key="value"``."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def named(names: Sequence[str]) -> str:
    """``container "a"``, ``containers "a", "b"``."""
    return f"{many('container', 'containers', len(names))} {quoted(names)}"


def setters(pod: bool, names: Sequence[str], *others: str) -> str:
    """Who set something: the pod, containers, others, joined by "and"; "" if nobody did."""
    told = ["pod"] if pod else []
    if names:
        told.append(named(names))
    return " and ".join((*told, *others))
