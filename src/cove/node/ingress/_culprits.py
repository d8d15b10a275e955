"""Culprits: which of many make a whole refused, asked as seldom as can be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["culprits"]

T = TypeVar("T")


async def culprits(
    items: list[T], refusal: Callable[[list[T]], Awaitable[str]]
) -> list[tuple[T, str]]:
    """Those to leave out so that the rest is taken, each with why it is refused.

    ``refusal`` says why some of them together are refused, "" if they are not.  Earlier
    ones win over later ones that do not go with them.
    """
    good: list[T] = []
    bad: list[tuple[T, str]] = []

    async def take(some: list[T]) -> None:
        why = await refusal(good + some)
        if not why:
            good.extend(some)
        elif len(some) == 1:
            bad.append((some[0], why))
        else:
            half = len(some) // 2
            await take(some[:half])
            await take(some[half:])

    if items:
        await take(items)
    return bad
