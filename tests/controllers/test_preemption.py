"""Preemption: who has to leave, and what is seen of it."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
from board import Board, node, pod
from hypothesis import given, settings
from hypothesis import strategies as st
from world import NAMESPACE, World, pod_template

from cove.controllers._resources import (
    EVENTS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    PRIORITY_CLASSES,
)
from cove.controllers.scheduler._nodes import PodInfo
from cove.controllers.scheduler._preemption import Candidate, NoCandidateError, choose

Doc = dict[str, Any]


def budget(labels: Doc, allowed: int) -> Doc:
    return {
        "metadata": {"name": "b", "namespace": "n"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"disruptionsAllowed": allowed},
    }


def preempt(board: Board, doc: Doc, *budgets: Doc) -> Candidate:
    error = board.error(doc)
    info = PodInfo(doc)
    cycle = board.placement.cycle(info, doc["spec"])
    return choose(cycle, board.placement.nodes, error.verdicts, list(budgets), random.Random(1))


def victims(candidate: Candidate) -> list[str]:
    return sorted(v.uid for v in candidate.victims)


def test_the_least_important_leave_and_the_longest_running_stay() -> None:
    board = Board(node("a", cpu="3"))
    board.put(pod("old", cpu="1"), started="2024-01-01T00:00:00Z")
    board.put(pod("new", cpu="1"), started="2024-01-02T00:00:00Z")
    board.put(pod("dear", cpu="1", priority=5), started="2024-01-03T00:00:00Z")
    assert victims(preempt(board, pod("p", cpu="1", priority=9))) == ["new"]


def test_a_budget_is_kept_where_another_node_does() -> None:
    board = Board(node("a", cpu="1"), node("b", cpu="1"))
    board.put(pod("guarded", cpu="1", labels={"app": "g"}), "a")
    board.put(pod("other", cpu="1", priority=3), "b")
    found = preempt(board, pod("p", cpu="1", priority=9), budget({"app": "g"}, 0))
    assert (found.node, victims(found), found.violations) == ("b", ["other"], 0)


def test_a_budget_does_not_save_the_last_resort() -> None:
    board = Board(node("a", cpu="1"))
    board.put(pod("guarded", cpu="1", labels={"app": "g"}))
    found = preempt(board, pod("p", cpu="1", priority=9), budget({"app": "g"}, 0))
    assert (victims(found), found.violations) == (["guarded"], 1)


def test_pods_that_are_in_the_way_of_spreading_leave() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"k": "v"}}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    board = Board(node("a"))
    board.put(pod("loner", affinity={"podAntiAffinity": required}))
    board.put(pod("bystander"))
    assert victims(preempt(board, pod("p", labels={"k": "v"}, priority=1))) == ["loner"]


def test_where_nobody_is_less_important_that_is_said() -> None:
    board = Board(node("a", cpu="1"), node("b", unschedulable=True))
    board.put(pod("equal", cpu="1"), "a")
    with pytest.raises(NoCandidateError) as caught:
        preempt(board, pod("p", cpu="1"))
    assert str(caught.value) == (
        "0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


PODS_ON_NODES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 9), st.booleans()),
        max_size=5,
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=200)
@given(PODS_ON_NODES, st.integers(1, 3), st.integers(1, 5), st.integers(0, 1))
def test_the_choice_is_the_definition(
    layout: list[list[tuple[int, int, int, bool]]], priority: int, size: int, allowed: int
) -> None:
    """Against all subsets of all nodes: spare the most important, then hurt least."""
    board = Board()
    best: list[tuple[tuple[Any, ...], str, str, list[str]]] = []
    for index, pods in enumerate(layout):
        name = f"n{index}"
        total = sum(cpu for _, cpu, _, _ in pods)
        room = max(total, size)
        if total + size <= room:
            room = total + size - 1  # nobody goes without preemption
        board.placement.set_node(node(name, cpu=str(max(room, 0))))
        docs: dict[str, tuple[int, int, str, bool]] = {}
        for number, (rank, cpu, day, guarded) in enumerate(pods):
            uid, since = f"{name}-{number}", f"2024-01-{day:02}T00:00:00Z"
            labels = {"app": "g"} if guarded else {"app": "o"}
            board.put(pod(uid, cpu=str(cpu), labels=labels, priority=rank), name, since)
            docs[uid] = (rank, cpu, since, guarded)
        lesser = sorted(
            (u for u in docs if docs[u][0] < priority), key=lambda u: (-docs[u][0], docs[u][2])
        )
        left, violating = allowed, []
        for uid in lesser:
            if docs[uid][3]:
                left -= 1
                if left < 0:
                    violating.append(uid)
        order = violating + [u for u in lesser if u not in violating]
        base = total - sum(docs[u][1] for u in lesser)
        fitting = [
            kept
            for kept in product((1, 0), repeat=len(order))
            if base + size + sum(docs[u][1] for u, k in zip(order, kept, strict=True) if k) <= room
        ]
        if not order or not fitting:
            continue
        kept = max(fitting)
        gone = [u for u, k in zip(order, kept, strict=True) if not k]
        top = max(docs[u][0] for u in gone)
        harm = (
            sum(1 for u in gone if u in violating),
            top,
            sum(docs[u][0] + 2**31 for u in gone),
            len(gone),
        )
        since = min(docs[u][2] for u in gone if docs[u][0] == top)
        best.append((harm, since, name, sorted(gone)))
    doc = pod("p", cpu=str(size), priority=priority)
    if not best:
        with pytest.raises(NoCandidateError):
            preempt(board, doc, budget({"app": "g"}, allowed))
        return
    found = preempt(board, doc, budget({"app": "g"}, allowed))
    least = min(harm for harm, _, _, _ in best)
    latest = max(since for harm, since, _, _ in best if harm == least)
    allowed_choices = [(n, v) for h, s, n, v in best if h == least and s == latest]
    assert (found.node, victims(found)) in allowed_choices
    # Nothing was moved on the way.
    assert sum(len(n.pods) for n in board.placement.nodes.values()) == sum(map(len, layout))


async def fill(world: World, priority_policy: str = "PreemptLowerPriority") -> Doc:
    """A cluster that is full, a class above it, and the pod that is in the way."""
    await world.client.create(
        PRIORITY_CLASSES,
        {"metadata": {"name": "high"}, "value": 10, "preemptionPolicy": priority_policy},
    )
    for name in ("node-0", "node-1"):
        await world.client.patch(NODES, name, {"spec": {"unschedulable": name != "node-0"}})
    await world.create(PODS, "low", asking("5"))
    return await world.one(PODS, "low", lambda o: o["status"].get("phase") == "Running")


def asking(cpu: str, **spec: Any) -> Doc:
    template = pod_template({"app": "p"}, **spec)
    template["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return {"spec": template["spec"], "metadata": {"labels": {"app": "p"}}}


def condition(obj: Doc, type: str) -> Doc:
    found = [c for c in obj["status"].get("conditions", ()) if c["type"] == type]
    return found[0] if found else {}


async def test_a_more_important_pod_takes_the_place_of_another(running: World) -> None:
    low = await fill(running)
    await running.client.patch(
        PODS, "low", {"metadata": {"finalizers": ["example.com/hold"]}}, NAMESPACE
    )
    high = await running.create(PODS, "high", asking("5", priorityClassName="high"))
    leaving = await running.one(PODS, "low", lambda o: "deletionTimestamp" in o["metadata"])
    assert condition(leaving, "DisruptionTarget") | {"lastTransitionTime": ""} == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "default-scheduler: preempting to accommodate a higher priority pod",
        "lastProbeTime": None,
        "lastTransitionTime": "",
        "observedGeneration": low["metadata"]["generation"],
    }
    waiting = await running.one(PODS, "high", lambda o: o["status"].get("nominatedNodeName"))
    assert waiting["status"]["nominatedNodeName"] == "node-0"
    assert condition(waiting, "PodScheduled")["message"].startswith(
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable."
    )
    await running.client.patch(PODS, "low", {"metadata": {"finalizers": None}}, NAMESPACE)
    await running.one(PODS, "high", lambda o: o["status"].get("phase") == "Running")
    events = await running.until(
        EVENTS, lambda found: any(e["reason"] == "Preempted" for e in found)
    )
    (event,) = [e for e in events if e["reason"] == "Preempted"]
    assert event["message"] == f"Preempted by pod {high['metadata']['uid']} on node node-0"
    assert event["involvedObject"]["name"] == "low"


async def test_a_pod_that_never_preempts_waits(running: World) -> None:
    await fill(running, "Never")
    await running.create(PODS, "high", asking("5", priorityClassName="high"))
    waiting = await running.one(PODS, "high", lambda o: condition(o, "PodScheduled"))
    assert condition(waiting, "PodScheduled")["message"] == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. no new claims "
        "to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    )
    # It is placed as soon as there is room, without waiting for its delay.
    await running.client.delete(PODS, "low", NAMESPACE)
    await running.one(PODS, "high", lambda o: bool(o["spec"].get("nodeName")))


async def test_a_gated_pod_is_left_alone_until_its_gates_are_gone(running: World) -> None:
    await running.create(PODS, "gated", asking("1", schedulingGates=[{"name": "example.com/wait"}]))
    gated = await running.one(PODS, "gated", lambda o: condition(o, "PodScheduled"))
    assert condition(gated, "PodScheduled")["reason"] == "SchedulingGated"
    await running.client.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, NAMESPACE)
    await running.one(PODS, "gated", lambda o: o["status"].get("phase") == "Running")


async def test_a_budget_of_the_cluster_is_heeded(running: World) -> None:
    await fill(running)
    body = {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}}
    await running.create(POD_DISRUPTION_BUDGETS, "b", body)
    await running.one(
        POD_DISRUPTION_BUDGETS, "b", lambda o: o.get("status", {}).get("currentHealthy") == 1
    )
    await running.client.patch(NODES, "node-1", {"spec": {"unschedulable": False}})
    other = asking("5")
    other["metadata"]["labels"] = {"app": "other"}
    await running.create(PODS, "other", other)
    await running.one(PODS, "other", lambda o: o["status"].get("phase") == "Running")
    await running.create(PODS, "high", asking("5", priorityClassName="high"))
    await running.gone(PODS, "other")
    assert (await running.client.get(PODS, "low", NAMESPACE))["spec"]["nodeName"] == "node-0"
