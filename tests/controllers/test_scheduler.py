"""The scheduler: who goes where, and what is said of those who go nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from board import Board, node, pod
from hypothesis import given, settings
from hypothesis import strategies as st
from world import NAMESPACE, World

from cove.controllers._resources import NODES, PODS
from cove.controllers.scheduler._filters import tolerates
from cove.controllers.scheduler._nodes import requests_of
from cove.controllers.scheduler._placement import UnschedulableError

Doc = dict[str, Any]


def test_pods_spread_over_equal_nodes() -> None:
    board = Board(node("a"), node("b"), node("c"))
    assert sorted(board.put(pod(f"p{i}")) for i in range(6)) == ["a", "a", "b", "b", "c", "c"]


def test_room_that_is_freed_is_used() -> None:
    board = Board(node("a", cpu="1"))
    board.put(pod("p", cpu="1"))
    assert board.why_not(pod("q", cpu="1")) == "0/1 nodes are available: 1 Insufficient cpu"
    board.placement.remove_pod("p")
    assert board.put(pod("q", cpu="1")) == "a"


def test_a_new_node_is_used_by_pods_of_a_known_kind() -> None:
    board = Board(node("a", pods="1"))
    board.put(pod("p"))
    board.placement.set_node(node("b"))
    assert board.put(pod("q")) == "b"


ZONE = "topology.kubernetes.io/zone"


def anti_affinity(labels: Doc) -> Doc:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


@pytest.mark.parametrize(
    ("nodes", "doc", "text"),
    [
        pytest.param([], pod("p"), "no nodes available to schedule pods", id="none"),
        pytest.param(
            [node("a", pods="0")], pod("p"), "0/1 nodes are available: 1 Too many pods", id="full"
        ),
        pytest.param(
            [node("a"), node("b", unschedulable=True)],
            pod("p", cpu="9"),
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable",
            id="several",
        ),
        pytest.param(
            [node("a", taints=[{"key": "k", "effect": "NoSchedule"}])],
            pod("p"),
            "0/1 nodes are available: 1 node(s) had untolerated taint(s)",
            id="taint",
        ),
        pytest.param(
            [node("a")],
            pod("p", nodeSelector={"disk": "ssd"}),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector",
            id="selector",
        ),
    ],
)
def test_the_reasons_are_upstreams(nodes: list[Doc], doc: Doc, text: str) -> None:
    assert Board(*nodes).why_not(doc) == text


def test_pods_that_refuse_each_other_are_kept_apart() -> None:
    board = Board(node("a"), node("b"))
    labels = {"app": "x"}
    places = {board.put(pod(f"p{i}", labels=labels, affinity=anti_affinity(labels))) for i in "12"}
    assert places == {"a", "b"}
    assert board.why_not(pod("p3", labels=labels, affinity=anti_affinity(labels))).endswith(
        "2 node(s) didn't match pod anti-affinity rules"
    )
    assert board.why_not(pod("p4", labels=labels)).endswith(
        "2 node(s) didn't satisfy existing pods anti-affinity rules"
    )


def test_affinity_follows_and_the_first_goes_anywhere() -> None:
    board = Board(node("a"), node("b"))
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "x"}},
    }
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    first = board.put(pod("p1", labels={"app": "x"}, affinity=affinity))
    assert {board.put(pod(f"p{i}", labels={"app": "x"}, affinity=affinity)) for i in "23"} == {
        first
    }


def test_spreading_keeps_zones_even() -> None:
    board = Board(
        node("a1", labels={ZONE: "a"}),
        node("a2", labels={ZONE: "a"}),
        node("b1", labels={ZONE: "b"}),
    )
    constraint = {
        "topologyKey": ZONE,
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
    }
    places = [
        board.put(pod(f"p{i}", labels={"app": "x"}, topologySpreadConstraints=[constraint]))
        for i in range(4)
    ]
    assert sorted(p[0] for p in places) == ["a", "a", "b", "b"]


def test_a_host_port_is_taken_once() -> None:
    board = Board(node("a"))
    containers = [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]
    board.put(pod("p") | {"spec": {"containers": containers}})
    assert board.why_not(pod("q") | {"spec": {"containers": containers}}).endswith(
        "didn't have free ports for the requested pod ports"
    )


def test_init_containers_count_at_their_peak() -> None:
    def container(cpu: str, **more: Any) -> Doc:
        return {"name": cpu, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [container("1", restartPolicy="Always"), container("5")],
        "containers": [container("2"), container("3")],
    }
    assert requests_of(spec) == {"cpu": 6000}


@pytest.mark.parametrize(
    ("toleration", "taint", "expected"),
    [
        ({"operator": "Exists"}, {"key": "k", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "v"}, {"key": "k", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "w"}, {"key": "k", "value": "v", "effect": "NoSchedule"}, False),
        (
            {"key": "k", "operator": "Exists", "effect": "NoExecute"},
            {"key": "k", "effect": "NoSchedule"},
            False,
        ),
    ],
)
def test_tolerations(toleration: Doc, taint: Doc, expected: bool) -> None:
    assert tolerates([toleration], taint) is expected


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop", "node"]), st.integers(0, 5), st.integers(1, 3))
    )
)
def test_no_node_is_ever_overbooked_and_room_is_always_found(
    steps: list[tuple[str, int, int]],
) -> None:
    board = Board(node("n0", cpu="4"))
    sizes: dict[str, tuple[str, int]] = {}
    room = {"n0": 4}
    for number, (step, index, cpu) in enumerate(steps):
        if step == "node":
            name = f"n{index}"
            if name not in room:
                room[name] = 4
                board.placement.set_node(node(name, cpu="4"))
        elif step == "drop" and sizes:
            name = sorted(sizes)[index % len(sizes)]
            where, size = sizes.pop(name)
            room[where] += size
            board.placement.remove_pod(name)
        elif step == "put":
            name = f"p{number}"
            try:
                where = board.put(pod(name, cpu=str(cpu)))
            except UnschedulableError:
                assert all(free < cpu for free in room.values())
            else:
                room[where] -= cpu
                sizes[name] = (where, cpu)
                assert room[where] >= 0


def spread(key: str = ZONE, **more: Any) -> Doc:
    return {
        "topologyKey": key,
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
        **more,
    }


def test_too_few_domains_leave_only_what_the_skew_allows() -> None:
    board = Board(node("a", labels={ZONE: "a"}))
    doc = {"labels": {"app": "x"}, "topologySpreadConstraints": [spread(minDomains=2)]}
    assert board.put(pod("p1", **doc)) == "a"
    assert board.why_not(pod("p2", **doc)).endswith(
        "1 node(s) didn't match pod topology spread constraints"
    )


def test_a_node_outside_all_domains_says_so() -> None:
    doc = pod("p", labels={"app": "x"}, topologySpreadConstraints=[spread()])
    assert Board(node("a")).why_not(doc).endswith("(missing required label)")


def test_keys_of_the_pod_tell_revisions_apart() -> None:
    board = Board(node("a", labels={ZONE: "a"}), node("b", labels={ZONE: "b"}, unschedulable=True))
    constraint = spread(matchLabelKeys=["rev"])
    for rev in "12":
        labels = {"app": "x", "rev": rev}
        assert board.put(pod(rev, labels=labels, topologySpreadConstraints=[constraint])) == "a"


def test_tainted_nodes_count_unless_taints_are_honored() -> None:
    taints = [{"key": "k", "effect": "NoSchedule"}]
    nodes = [node("a", labels={ZONE: "a"}), node("b", labels={ZONE: "b"}, taints=taints)]
    board = Board(*nodes)
    for name in "12":
        constraint = spread(nodeTaintsPolicy="Honor")
        doc = pod(name, labels={"app": "x"}, topologySpreadConstraints=[constraint])
        assert board.put(doc) == "a"
    doc = pod("3", labels={"app": "x"}, topologySpreadConstraints=[spread()])
    assert "1 node(s) didn't match pod topology spread" in board.why_not(doc)


def test_namespaces_are_chosen_by_their_labels() -> None:
    board = Board(node("a"), node("b"), namespaces={"other": {"team": "red"}})
    there = pod("there", labels={"app": "x"})
    there["metadata"]["namespace"] = "other"
    board.put(there, "b")
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "x"}},
        "namespaceSelector": {"matchLabels": {"team": "red"}},
    }
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    assert board.put(pod("p", affinity={"podAffinity": required})) == "b"
    assert board.put(pod("q", affinity={"podAntiAffinity": required})) == "a"


def test_affinity_counts_pods_that_every_term_means() -> None:
    board = Board(node("a"), node("b"))
    board.put(pod("half", labels={"one": "x"}), "a")
    board.put(pod("whole", labels={"one": "x", "two": "x"}), "b")
    terms = [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {key: "x"}}}
        for key in ("one", "two")
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    assert board.put(pod("p", affinity={"podAffinity": required})) == "b"


@pytest.mark.parametrize(
    ("other", "doc"),
    [
        pytest.param(
            node("worse", taints=[{"key": "k", "effect": "PreferNoSchedule"}]),
            pod("p"),
            id="soft taint",
        ),
        pytest.param(node("worse", cpu="2"), pod("p", cpu="1"), id="less room"),
        pytest.param(
            node("worse"),
            pod(
                "p",
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "preference": {
                                    "matchFields": [
                                        {
                                            "key": "metadata.name",
                                            "operator": "In",
                                            "values": ["better"],
                                        }
                                    ]
                                },
                            }
                        ]
                    }
                },
            ),
            id="preference",
        ),
    ],
)
def test_the_better_node_wins(other: Doc, doc: Doc) -> None:
    assert Board(other, node("better")).put(doc) == "better"


def test_a_pod_goes_where_its_image_is() -> None:
    images = [{"names": ["i:latest"], "sizeBytes": 900 * 2**20}]
    better = node("better")
    better["status"]["images"] = images
    assert Board(node("worse"), better).put(pod("p")) == "better"


def test_what_a_pod_asks_for_as_a_whole_stands_for_its_containers() -> None:
    spec = {
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}],
        "resources": {"requests": {"cpu": "1", "memory": "1Ki"}},
        "overhead": {"cpu": "500m"},
    }
    assert requests_of(spec) == {"cpu": 1500, "memory": 1024}


def test_pods_of_a_daemon_set_speak_of_one_node_only() -> None:
    field = {"key": "metadata.name", "operator": "In", "values": ["a"]}
    required = {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [field]}]
        }
    }
    board = Board(node("a", pods="0"), node("b"), node("c"))
    assert board.why_not(pod("p", affinity={"nodeAffinity": required})) == (
        "0/3 nodes are available: 1 Too many pods, "
        "2 node(s) didn't satisfy plugin(s) [NodeAffinity]"
    )


async def test_a_pod_without_a_node_says_why_until_one_comes(world: World) -> None:
    await world.create(PODS, "p", {"spec": {"containers": [{"name": "c", "image": "i"}]}})
    waiting = await world.one(
        PODS, "p", lambda o: any(c["status"] == "False" for c in o["status"].get("conditions", ()))
    )
    (condition,) = waiting["status"]["conditions"]
    assert (condition["reason"], condition["message"]) == (
        "Unschedulable",
        "no nodes available to schedule pods",
    )
    conditions = [{"type": "Ready", "status": "True"}]
    await world.client.create(NODES, node("late"))
    await world.client.patch(
        NODES, "late", {"status": {"conditions": conditions}}, subresource="status"
    )
    bound = await world.one(PODS, "p", lambda o: bool(o["spec"].get("nodeName")))
    assert bound["spec"]["nodeName"] == "late"
    assert bound["metadata"]["namespace"] == NAMESPACE
