"""The graph of an application, as plain values: who waits for whom, checked before a start.

An edge leads from a resource to one that it needs first.  A child needs its parent without
saying so.  What is wrong is found all at once, each with the chain that makes it wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from cove.host.errors import AppError

__all__ = ["Edge", "Graph", "GraphError", "Need", "Node"]


class Need(StrEnum):
    """What a resource needs of another before it starts; the words for it in a chain."""

    PARENT = "belongs to"
    HEALTHY = "waits for"
    COMPLETED = "comes after"
    REFERENCE = "refers to"


@dataclass(frozen=True, slots=True)
class Node:
    """A resource; ``completes`` tells that it can come to an end by itself."""

    name: str
    kind: str
    parent: str = ""
    completes: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """``source`` needs ``target``."""

    source: str
    target: str
    need: Need

    def __str__(self) -> str:
        return f"{self.source} {self.need} {self.target}"


class GraphError(AppError):
    """The resources of an application cannot be started in any order.

    :attr:`problems` are sentences, one for each thing that is wrong.
    """

    def __init__(self, app: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        told = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f'nothing of "{app}" was started:{told}')


class Graph:
    """Resources by name and what they need of each other."""

    def __init__(self, nodes: Iterable[Node], edges: Iterable[Edge]) -> None:
        self.nodes: Mapping[str, Node] = {node.name: node for node in nodes}
        own = [
            Edge(node.name, node.parent, Need.PARENT) for node in self.nodes.values() if node.parent
        ]
        self.edges: tuple[Edge, ...] = tuple(dict.fromkeys((*own, *edges)))
        self._from: dict[str, list[Edge]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            self._from.setdefault(edge.source, []).append(edge)

    def needs(self, name: str) -> Sequence[Edge]:
        """What ``name`` needs, in the order of declaration."""
        return self._from[name]

    def check(self, app: str) -> None:
        """Raises :class:`GraphError` with everything that is wrong."""
        problems = [*self._single(), *self._cycles()]
        if problems:
            raise GraphError(app, problems)

    def _single(self) -> Iterator[str]:
        """What is wrong with one edge alone."""
        for edge in self.edges:
            source, target = edge.source, self.nodes.get(edge.target)
            if target is None:
                yield f'{source} {edge.need} "{edge.target}", which is not declared{self._known(edge.target)}'
            elif source == target.name:
                yield f"{source} {edge.need} itself"
            elif edge.need is not Need.PARENT and self.nodes[source].parent == target.name:
                yield (
                    f"{source} {edge.need} its own {target.kind} {target.name}: it belongs to it and "
                    "starts after it anyway; leave that out"
                )
            elif edge.need is Need.COMPLETED and not target.completes:
                yield (
                    f"{source} comes after {target.name}, but {_a(target.kind)} never completes: say "
                    f"wait_for({target.name!r}) to start once it is healthy"
                )

    def _known(self, name: str) -> str:
        close = get_close_matches(name, self.nodes, 1)
        if close:
            return f' (is "{close[0]}" meant?)'
        return f" (declared: {', '.join(self.nodes)})"

    def _cycles(self) -> Iterator[str]:
        """One chain for each group of resources that wait for each other."""
        for group in self._components():
            if len(group) > 1:
                chain = self._chain(group)
                yield " → ".join(map(str, chain)) + ": none of them could ever start"

    def _usable(self, name: str) -> list[Edge]:
        """Edges along which to look for cycles; those to a parent may not be said twice."""
        parent = self.nodes[name].parent
        return [
            edge
            for edge in self._from[name]
            if edge.target in self.nodes
            and edge.target != name
            and (edge.need is Need.PARENT or edge.target != parent)
        ]

    def _components(self) -> list[list[str]]:
        """Strongly connected components (Tarjan, without recursion), in topological order."""
        position = {name: i for i, name in enumerate(self.nodes)}
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        on_stack: set[str] = set()
        stack: list[str] = []
        found: list[list[str]] = []
        for root in self.nodes:
            if root in index:
                continue
            work = [(root, iter(self._usable(root)))]
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            while work:
                name, edges = work[-1]
                for edge in edges:
                    target = edge.target
                    if target not in index:
                        index[target] = low[target] = len(index)
                        stack.append(target)
                        on_stack.add(target)
                        work.append((target, iter(self._usable(target))))
                        break
                    if target in on_stack:
                        low[name] = min(low[name], index[target])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[name])
                    if low[name] == index[name]:
                        at = stack.index(name)
                        found.append(sorted(stack[at:], key=position.__getitem__))
                        on_stack.difference_update(stack[at:])
                        del stack[at:]
        return found

    def _chain(self, group: Sequence[str]) -> list[Edge]:
        """The shortest way from the first of a cycle back to it."""
        start, inside = group[0], set(group)
        before: dict[str, Edge] = {}
        front = [start]
        while front:
            following = []
            for name in front:
                for edge in self._usable(name):
                    if edge.target not in inside or edge.target in before:
                        continue
                    before[edge.target] = edge
                    following.append(edge.target)
            if start in before:
                break
            front = following
        chain = [before[start]]
        while chain[-1].source != start:
            chain.append(before[chain[-1].source])
        return chain[::-1]

    def order(self) -> list[list[str]]:
        """Names in levels: what is in one needs only what is in those before it.

        Only for a graph that :meth:`check` finds nothing wrong with.
        """
        level: dict[str, int] = {}
        for (name,) in self._components():
            level[name] = 1 + max((level[e.target] for e in self._usable(name)), default=-1)
        out: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
        for name in self.nodes:
            out[level[name]].append(name)
        return out


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
