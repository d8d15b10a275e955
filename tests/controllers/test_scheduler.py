"""The scheduler: who goes where, and what is said of those who go nowhere."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import NAMESPACE, World

from cove.controllers._resources import NODES, PODS
from cove.controllers.scheduler._filters import tolerates
from cove.controllers.scheduler._nodes import PodInfo, requests_of
from cove.controllers.scheduler._placement import Placement, UnschedulableError

Doc = dict[str, Any]


def node(name: str, cpu: str = "4", pods: str = "10", **spec: Any) -> Doc:
    labels = {"kubernetes.io/hostname": name, **spec.pop("labels", {})}
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": pods}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def pod(name: str, cpu: str = "", labels: Doc | None = None, **spec: Any) -> Doc:
    container: Doc = {"name": "c", "image": "i"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels or {}},
        "spec": {"containers": [container], **spec},
    }


class Board:
    """A placement that is played on."""

    def __init__(self, *nodes: Doc) -> None:
        self.placement = Placement(random.Random(1), lambda _: {})
        for one in nodes:
            self.placement.set_node(one)

    def put(self, doc: Doc) -> str:
        info = PodInfo(doc)
        info.node = self.placement.place(info, doc["spec"])
        self.placement.add_pod(info)
        return info.node

    def why_not(self, doc: Doc) -> str:
        with pytest.raises(UnschedulableError) as caught:
            self.put(doc)
        return str(caught.value).partition(". ")[0]


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
