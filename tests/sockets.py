"""Which test left a connection open: otherwise the one during which it is collected fails."""

from __future__ import annotations

import asyncio.selector_events
import weakref
from collections.abc import Generator
from typing import Any

import pytest

# What asyncio gives every connection of its own loop; there is no public place to learn of them.
Transport: Any = asyncio.selector_events._SelectorTransport  # type: ignore[attr-defined]
_made: weakref.WeakSet[Any] = weakref.WeakSet()
_initialize = Transport.__init__


def _remember(self: Any, *arguments: Any, **options: Any) -> None:
    _initialize(self, *arguments, **options)
    _made.add(self)


Transport.__init__ = _remember


def left_open() -> list[str]:
    """The connections that are open though their loop has ended; each is told once."""
    found = [t for t in _made if t._sock is not None and t._loop.is_closed()]
    for transport in found:
        _made.discard(transport)
    return [f"{t._sock} of {t._protocol!r}" for t in found]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """Fail the test that a connection belongs to."""
    result = yield
    found = left_open()
    if found:
        pytest.fail(f"connections outlived their loop: {'; '.join(found)}", pytrace=False)
    return result
