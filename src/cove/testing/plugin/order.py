"""Order: tests that start from another's end come after it, in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cove.testing.plugin.run import Run

__all__ = ["arrange", "identity", "marked"]

_ID = pytest.StashKey[str]()
SCOPES = ("test", "class", "module", "session")


class Marked:
    """What the markers of a test say together; the nearest one says each thing."""

    def __init__(self, item: pytest.Item) -> None:
        self.scope = "test"
        self.engines: tuple[str, ...] = ()
        self.after = ""
        for mark in reversed(list(item.iter_markers("cove"))):
            unknown = set(mark.kwargs) - {"scope", "engine", "after"}
            if mark.args or unknown:
                wrong = ", ".join([*map(repr, mark.args), *sorted(unknown)])
                raise pytest.UsageError(
                    f"{item.nodeid}: the marker cove takes scope, engine and after by name, "
                    f"not {wrong}"
                )
            self.scope = mark.kwargs.get("scope", self.scope)
            engine = mark.kwargs.get("engine", self.engines)
            self.engines = (engine,) if isinstance(engine, str) else tuple(engine or ())
            self.after = mark.kwargs.get("after", self.after)
        if self.scope not in SCOPES:
            raise pytest.UsageError(
                f'{item.nodeid}: the scope "{self.scope}" is none: take {", ".join(SCOPES)}'
            )


def marked(item: pytest.Item) -> Marked:
    """What the markers of a test say.  Raises UsageError for what they cannot."""
    return Marked(item)


def identity(item: pytest.Item) -> str:
    """The node id of a test as it was collected: distributing by groups changes it."""
    return item.stash.get(_ID, item.nodeid)


def arrange(run: Run, items: list[pytest.Item]) -> None:
    """Move tests behind those that they start from, and note whose end is to be remembered.

    With xdist both go to the same process where tests are distributed by groups; elsewhere the
    end of one travels to the other.  Raises UsageError for a test that there is not, or a circle.
    """
    after = {item.nodeid: marked(item).after for item in items}
    by_id = {item.nodeid: item for item in items}
    for item in items:
        item.stash[_ID] = item.nodeid
    first: dict[str, str] = {}
    for item in items:
        if after[item.nodeid]:
            first[item.nodeid] = _meant(item, after[item.nodeid], by_id)
    if not first:
        return
    run.after.update(first)
    placed: dict[str, None] = {}
    for nodeid in by_id:
        chain = [nodeid]
        while chain[-1] in first:
            before = first[chain[-1]]
            if before in chain:
                raise pytest.UsageError(
                    f"these tests start from each other's end: {' → '.join([*chain, before])}"
                )
            chain.append(before)
        for each in reversed(chain):
            placed.setdefault(each)
        if len(chain) > 1:
            group = pytest.mark.xdist_group(name=f"cove {chain[-1]}")
            for each in chain:
                if by_id[each].get_closest_marker("xdist_group") is None:
                    by_id[each].add_marker(group)
    items[:] = [by_id[nodeid] for nodeid in placed]


def _meant(item: pytest.Item, name: str, by_id: dict[str, pytest.Item]) -> str:
    """The node id of the test that ``name`` means: a whole id, or a name of the same module."""
    module = item.nodeid.partition("::")[0]
    parents = item.nodeid.rpartition("::")[0]
    for candidate in (name, f"{parents}::{name}", f"{module}::{name}"):
        if candidate in by_id:
            return candidate
    raise pytest.UsageError(
        f'{item.nodeid} starts from the end of "{name}", which is not among the tests of this run: '
        "select it, too"
    )
