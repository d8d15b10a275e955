"""Clients that leave their connections to the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def what_a_client_leaves_is_collected_here() -> Iterator[None]:
    """Where it is known and passed over; else it is told of a test that has nothing to do with it."""
    yield
    gc.collect()
