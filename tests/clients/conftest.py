"""Clients that leave their connections to the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def what_a_client_leaves_is_collected_here() -> Iterator[None]:
    """So that it is told of the test that left it, and of no other."""
    yield
    gc.collect()
