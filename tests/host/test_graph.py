"""The graph of an application: what can never start is refused, with the chain."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.graph import Edge, Graph, GraphError, Need, Node

HEALTHY, COMPLETED = Need.HEALTHY, Need.COMPLETED


def graph(*edges: Edge, nodes: str = "a b c d", **parents: str) -> Graph:
    return Graph([Node(n, "process", parents.get(n, ""), True) for n in nodes.split()], edges)


def problems(tested: Graph) -> tuple[str, ...]:
    with pytest.raises(GraphError) as raised:
        tested.check("shop")
    assert 'nothing of "shop" was started' in str(raised.value)
    return raised.value.problems


def test_a_graph_without_faults_is_none() -> None:
    graph(Edge("a", "b", HEALTHY), Edge("b", "c", COMPLETED), Edge("a", "c", HEALTHY)).check("shop")


def test_a_cycle_is_told_as_its_chain() -> None:
    found = problems(
        graph(Edge("a", "b", HEALTHY), Edge("b", "c", COMPLETED), Edge("c", "a", HEALTHY))
    )
    assert found == (
        "a waits for b → b comes after c → c waits for a: none of them could ever start",
    )


def test_every_fault_is_told_at_once() -> None:
    found = problems(
        graph(
            Edge("a", "a", HEALTHY),
            Edge("b", "shopp", HEALTHY),
            Edge("c", "d", HEALTHY),
            Edge("d", "c", HEALTHY),
        )
    )
    assert found == (
        "a waits for itself",
        'b waits for "shopp", which is not declared (declared: a, b, c, d)',
        "c waits for d → d waits for c: none of them could ever start",
    )


def test_a_name_that_is_nearly_right_is_offered() -> None:
    (found,) = problems(graph(Edge("api", "webb", HEALTHY), nodes="api web"))
    assert found == 'api waits for "webb", which is not declared (is "web" meant?)'


def test_a_child_does_not_wait_for_its_parent() -> None:
    (found,) = problems(graph(Edge("b", "a", HEALTHY), nodes="a b", b="a"))
    assert found.startswith("b waits for its own process a: it belongs to it")


def test_a_parent_that_waits_for_its_child_is_a_cycle() -> None:
    (found,) = problems(graph(Edge("a", "b", HEALTHY), nodes="a b", b="a"))
    assert found == "a waits for b → b belongs to a: none of them could ever start"


def test_what_never_completes_cannot_be_come_after() -> None:
    nodes = [Node("k8s", "cluster"), Node("url", "endpoint", "k8s"), Node("api", "process")]
    (found,) = problems(Graph(nodes, [Edge("api", "url", COMPLETED)]))
    assert found == (
        "api comes after url, but an endpoint never completes: say wait_for('url') to start once "
        "it is healthy"
    )


names = st.sampled_from("abcdefg")
edges = st.lists(st.builds(Edge, names, names, st.sampled_from([HEALTHY, COMPLETED])), max_size=14)


def reachable(edges: list[Edge], start: str) -> set[str]:
    """By brute force: everything at the end of some way from ``start``."""
    found: set[str] = set()
    front = {start}
    while front:
        front = {e.target for e in edges if e.source in front} - found
        found |= front
    return found


@given(edges)
def test_cycles_are_found_and_only_they(found: list[Edge]) -> None:
    tested = graph(*found, nodes="a b c d e f g")
    cyclic = any(name in reachable(found, name) for name in "abcdefg")
    try:
        tested.check("shop")
    except GraphError:
        assert cyclic
    else:
        assert not cyclic
        position = {name: i for i, level in enumerate(tested.order()) for name in level}
        assert sorted(position) == list("abcdefg")
        assert all(position[e.source] > position[e.target] for e in found)


def test_a_long_chain_is_no_trouble() -> None:
    names = [f"n{i}" for i in range(5000)]
    long = Graph(
        [Node(n, "process", completes=True) for n in names],
        [Edge(a, b, HEALTHY) for a, b in itertools.pairwise(names)],
    )
    long.check("shop")
    assert [level[0] for level in long.order()] == names[::-1]
