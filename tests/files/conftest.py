"""Trees and mounts of real clusters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from files_world import Shell, Spy, spying

from cove.engines.embedded import EmbeddedCluster
from cove.files import Tree, mount


@pytest.fixture
async def watched(api: EmbeddedCluster) -> AsyncIterator[tuple[Tree, Spy]]:
    """A tree of a cluster without controllers, and what it sends."""
    async with spying(api) as (tree, spy):
        yield tree, spy


@pytest.fixture
def tree(watched: tuple[Tree, Spy]) -> Tree:
    return watched[0]


@pytest.fixture
def spy(watched: tuple[Tree, Spy]) -> Spy:
    return watched[1]


@pytest.fixture
async def shell(tree: Tree, tmp_path: Path) -> AsyncIterator[Shell]:
    """Programs that look into a mount of that tree."""
    directory = tmp_path / "k8s"
    directory.mkdir()
    async with mount(directory, tree):
        yield Shell(directory)
