"""Waiting: eventually, wait_for, roll-outs, watches — told by changes, not by looking again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import cove
from cove.testing import Kubernetes, Timeline, environment, eventually, expect, wait_for

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
    },
}
# It asks for more than any node has.
HUGE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "huge"},
    "spec": {
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "9999"}}}]
    },
}


@environment
class Plain:
    k8s = cove.cluster()


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Later:
    """Does something in another thread, as a controller would; joined when it is left."""

    def __init__(self, *steps: Any) -> None:
        self._thread = threading.Thread(target=lambda: [step() for step in steps])

    def __enter__(self) -> Later:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join()


# -- eventually


def test_it_is_asked_again_when_what_it_read_has_changed(k8s: Kubernetes) -> None:
    k8s.apply(config("a", n="0"))
    asked = 0

    def three() -> None:
        nonlocal asked
        asked += 1
        assert k8s.core.read_namespaced_config_map("a").data.n == "3"

    steps = [lambda n=n: k8s.apply(config("a", n=str(n))) for n in (1, 2, 3)]
    with Later(*steps):
        k8s.eventually(three, 10)
    assert 1 <= asked <= 6, "once, and for each change — not at intervals"


def test_nothing_is_asked_while_nothing_changes(k8s: Kubernetes) -> None:
    k8s.apply(config("a", n="0"))
    asked = 0

    def never() -> None:
        nonlocal asked
        asked += 1
        assert k8s.core.read_namespaced_config_map("a").data.n == "1"

    with pytest.raises(AssertionError, match=r"within 0.5 s"):
        k8s.eventually(never, 0.5)
    assert asked <= 2


def test_what_is_not_there_is_not_yet(k8s: Kubernetes) -> None:
    with Later(lambda: k8s.apply(config("late"))):
        found = k8s.eventually(lambda: k8s.get("cm/late"))
    assert found.metadata.name == "late"


def test_a_field_that_is_not_set_is_not_yet(k8s: Kubernetes) -> None:
    stuck = {**HUGE, "metadata": {"name": "stuck"}}
    k8s.apply(stuck)
    with pytest.raises(AssertionError, match="is None: it has no 'ready'"):
        k8s.eventually(lambda: k8s.get("pod/stuck").status.container_statuses.ready, 0.2)
    with pytest.raises(AttributeError):
        k8s.eventually(lambda: k8s.get("pod/stuck").stetus, 0.2)


def test_what_goes_is_seen_to_go(k8s: Kubernetes) -> None:
    k8s.apply(config("a"))
    with Later(lambda: k8s.core.delete_namespaced_config_map("a")):
        assert k8s.eventually(lambda: not k8s.exists("cm/a")) is True


def test_collections_are_followed(k8s: Kubernetes) -> None:
    def two() -> None:
        found = k8s.core.list_namespaced_config_map(label_selector="of=us")
        assert len(found.items) == 2

    def make(name: str) -> Any:
        doc = config(name)
        doc["metadata"]["labels"] = {"of": "us"}
        return lambda: k8s.apply(doc)

    with Later(make("a"), make("b")):
        k8s.eventually(two)


def test_a_failure_tells_what_was_seen_last_and_how_pods_are(k8s: Kubernetes) -> None:
    k8s.apply(HUGE)
    k8s.wait_for("pod/huge", "condition=PodScheduled=False")

    def running() -> None:
        expect(k8s.get("pod/huge").status.phase) == "Running"

    with pytest.raises(AssertionError) as failed:
        k8s.eventually(running, 0.2, message="huge never ran")
    told = str(failed.value)
    assert told.startswith("huge never ran within 0.2 s")
    assert "expected status.phase == 'Running', but it is 'Pending'" in told
    none = f"0/{len(k8s.core.list_node().items)} nodes are available"
    assert f"{k8s.namespace}/huge 0/1 Pending: Unschedulable: {none}" in told
    assert f"pod/huge: FailedScheduling: {none}" in told


def test_other_errors_are_not_waited_for(k8s: Kubernetes) -> None:
    def wrong() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        k8s.eventually(wrong)
    with pytest.raises(cove.StatusError, match="is invalid"):
        k8s.eventually(lambda: k8s.apply({**config("No Name")}))


def test_attempts_that_failed_leave_no_failed_comparison(
    k8s: Kubernetes, timeline: Timeline
) -> None:
    k8s.apply(config("a", n="0"))

    def one() -> None:
        expect(k8s.get("cm/a").data.n) == "1"

    with Later(lambda: k8s.apply(config("a", n="1"))):
        k8s.eventually(one)
    assert [a.passed for a in timeline.assertions] == [True]


def test_what_no_watch_tells_of_is_looked_at(k8s: Kubernetes) -> None:
    came = threading.Event()
    with Later(came.set):
        k8s.eventually(came.is_set)


def test_helpers_need_no_fixture(k8s: Kubernetes) -> None:
    k8s.apply(DEPLOYMENT)
    eventually(lambda: expect(k8s.get("deploy/web").status.ready_replicas) == 1)
    assert wait_for("deployment/web", "condition=Available").status.replicas == 1


async def test_it_can_be_awaited(k8s: Kubernetes) -> None:
    aio = k8s.aio
    await aio.apply(DEPLOYMENT)

    async def ready() -> None:
        assert (await aio.get("deploy/web")).status.ready_replicas == 1

    await aio.eventually(ready)
    with pytest.raises(AssertionError, match=r"within 0\.1 s"):
        await aio.eventually(lambda: False, 0.1)


def test_a_coroutine_is_refused_where_nobody_awaits_it(k8s: Kubernetes) -> None:
    async def check() -> None: ...

    with pytest.raises(TypeError, match=r"await k8s.aio.eventually"):
        k8s.eventually(check)


# -- wait_for


def test_a_condition(k8s: Kubernetes) -> None:
    k8s.apply(DEPLOYMENT)
    web = k8s.wait_for("deployment/web", "condition=Available")
    assert web.status.available_replicas == 1


def test_an_object_that_is_yet_to_come(k8s: Kubernetes) -> None:
    with Later(lambda: k8s.apply(config("late", k="v"))):
        assert k8s.wait_for("cm/late", "create").data.k == "v"


def test_deletion(k8s: Kubernetes) -> None:
    made = k8s.apply(config("a"))[0]
    with Later(lambda: k8s.core.delete_namespaced_config_map("a")):
        assert k8s.wait_for(made, "delete") is None


def test_jsonpath_and_functions(k8s: Kubernetes) -> None:
    k8s.apply(DEPLOYMENT)
    by_path = k8s.wait_for("deploy/web", "jsonpath={.status.readyReplicas}=1")
    by_function = k8s.wait_for("deploy/web", lambda d: d.status.ready_replicas == 1)
    assert by_path.metadata.uid == by_function.metadata.uid


def test_a_condition_that_does_not_come_tells_what_was_seen(k8s: Kubernetes) -> None:
    k8s.apply(HUGE)
    k8s.wait_for("pod/huge", "condition=PodScheduled=False")
    with pytest.raises(AssertionError) as failed:
        k8s.wait_for("pod/huge", "condition=Ready", timeout=0.2)
    told = str(failed.value)
    assert told.startswith("pod/huge: no condition=Ready within 0.2 s")
    assert "last seen: phase Pending, PodScheduled=False (Unschedulable" in told
    assert "FailedScheduling" in told


def test_what_is_no_condition_is_told(k8s: Kubernetes) -> None:
    with pytest.raises(ValueError, match='"Ready" is no condition: say "condition=Ready"'):
        k8s.wait_for("pod/a", "Ready")


# -- roll-outs


def test_roll_outs_are_awaited_together(k8s: Kubernetes) -> None:
    other = {**DEPLOYMENT, "metadata": {"name": "other"}}
    k8s.apply([DEPLOYMENT, other])
    k8s.wait_rollouts("deploy/web", "deploy/other")
    k8s.wait_rollouts()
    assert [d.status.ready_replicas for d in k8s.apps.list_namespaced_deployment().items] == [1, 1]


def test_a_roll_out_that_hangs_tells_why(k8s: Kubernetes) -> None:
    stuck = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"]}}
    stuck["spec"]["template"] = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": HUGE["spec"]["containers"]},
    }
    k8s.apply(stuck)
    with pytest.raises(AssertionError) as failed:
        k8s.wait_rollouts(timeout=0.3)
    told = str(failed.value)
    assert told.startswith("not rolled out within 0.3 s:\n  deployment/web: ")
    assert "0/1 Pending: Unschedulable" in told
    assert "FailedScheduling" in told


def test_only_workloads_roll_out(k8s: Kubernetes) -> None:
    k8s.apply(config("a"))
    with pytest.raises(ValueError, match="only workloads roll out, not a ConfigMap"):
        k8s.wait_rollouts("cm/a")


# -- watches


def test_a_watch_gives_events_one_by_one(k8s: Kubernetes) -> None:
    k8s.apply(config("before"))
    with k8s.watch("configmaps") as events:
        k8s.apply(config("a"))
        k8s.core.delete_namespaced_config_map("a")
        seen = [(e.type, e.object.metadata.name) for e in (events.next(), next(events))]
        assert seen == [("ADDED", "a"), ("DELETED", "a")]
        with pytest.raises(AssertionError, match=r"no event of configmaps within 0\.1 s"):
            events.next(0.1)


async def test_a_watch_can_be_awaited(k8s: Kubernetes) -> None:
    async with k8s.aio.watch("cm/one") as events:
        await k8s.aio.apply([config("other"), config("one")])
        event = await anext(events)
    assert (event.type, event.object.metadata.name) == ("ADDED", "one")
