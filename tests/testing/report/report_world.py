"""Timelines as tests leave them, for reports of them."""

from __future__ import annotations

import copy
from typing import Any

from cove.testing.timeline import Assertion, Call, Link, Note, Seen, Timeline
from cove.testing.values import expect, settle, wrap

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "resourceVersion": "101",
        "labels": {"app": "web"},
        "managedFields": [{"manager": "test", "operation": "Update"}],
    },
    "spec": {"containers": [{"name": "main", "image": "shop/web:1"}]},
    "status": {"phase": "Pending"},
}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Writer:
    """Writes a timeline as a test would."""

    def __init__(self, name: str) -> None:
        self.clock = Clock()
        self.timeline = Timeline(name, clock=self.clock)

    def call(self, verb: str, resource: str, name: str = "", **more: Any) -> Call:
        """A request that takes 4 ms; ``more`` are fields of the call."""
        methods = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
        namespace = more.pop("namespace", "shop")
        path = f"/api/v1/namespaces/{namespace}/{resource}" + (f"/{name}" if name else "")
        settings: dict[str, Any] = {
            "kind": "kube",
            "verb": verb,
            "version": "v1",
            "resource": resource,
            "namespace": namespace,
            "name": name,
            "took": 0.004,
            "status": 201 if verb == "create" else 200,
            **more,
        }
        call = Call(
            self.timeline.next_id(),
            self.timeline.now(),
            methods.get(verb, "GET"),
            path,
            **settings,
        )
        self.timeline.add(call)
        self.clock.now += (call.took or 0.004) + 0.01
        return call

    def answer(self, call: Call) -> Any:
        """What a call answered, wrapped."""
        return wrap(copy.deepcopy(call.response), Link(self.timeline, call.id))

    def note(self, kind: str, title: str, text: str = "", data: Any = None) -> Note:
        """A note."""
        return self.timeline.note(kind, title, text, data)

    def end(self, outcome: str = "passed", failure: str = "") -> Timeline:
        """The test is over."""
        self.timeline.outcome, self.timeline.failure = outcome, failure
        self.timeline.took = self.timeline.now()
        return self.timeline


def changed(**status: Any) -> dict[str, Any]:
    """The pod with another status, one version later."""
    pod = copy.deepcopy(POD)
    pod["status"] = status
    pod["metadata"]["resourceVersion"] = "102"
    return pod


def passing(name: str = "tests/test_shop.py::test_a_pod_runs") -> Timeline:
    """A test in which all went well."""
    w = Writer(name)
    w.note("phase", "setup")
    w.call("create", "pods", request=POD, response=POD)
    w.note("phase", "call")
    running = changed(phase="Running", podIP="10.44.0.7")
    call = w.call("patch", "pods", "web", request={"status": {}}, response=running, before=POD)
    assert w.answer(call).status.phase == "Running"
    assert w.answer(call).status.pod_ip.startswith("10.")
    w.note("phase", "teardown")
    w.call("delete", "pods", "web", response=running, before=running)
    return w.end()


def failing(name: str = "tests/test_shop.py::TestOrders::test_the_shop_answers") -> Timeline:
    """A test that waited for a pod in vain, with all that was gathered of it."""
    w = Writer(name)
    w.note("phase", "setup")
    group = w.note("apply", "apply 2 documents of deploy/shop.yaml")
    w.call(
        "create",
        "services",
        request={"kind": "Service"},
        response={"kind": "Service"},
        parent=group.id,
    )
    w.call("create", "pods", request=POD, response=POD, parent=group.id)
    w.note("phase", "call")
    w.note("fault", "latency 200 ms on GET pods", data={"verbs": ["get"], "latency": 0.2})
    w.call(
        "get",
        "deployments",
        "api",
        group="apps",
        status=404,
        error='deployments.apps "api" not found',
        response={"kind": "Status"},
    )
    watch = w.call("watch", "pods", took=None, query="watch=true&resourceVersion=101")
    watch.seen += [
        Seen(w.timeline.now(), "ADDED", "shop", "web", "101"),
        Seen(w.timeline.now() + 0.3, "MODIFIED", "shop", "web", "102"),
    ]
    w.call(
        "patch",
        "pods",
        "web",
        agent="kubectl",
        request={"spec": {}},
        response=changed(phase="Pending"),
    )
    w.clock.now += 0.4
    note = w.note(
        "wait", "eventually: 3 looks in 0.4 s, then it was given up", "last seen: Pending"
    )
    w.note("clock", "advanced by 1 h")
    waiting = changed(
        phase="Pending",
        containerStatuses=[
            {"name": "main", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
        ],
    )
    call = w.call("get", "pods", "web", response=waiting, took=0.2)
    pod = w.answer(call)
    assert pod.metadata.name == "web"
    assert note.id
    failure = ""
    for _ in range(2):
        try:
            expect(pod.status.phase) == "Running"
        except AssertionError as e:
            settle(w.timeline, e)
            failure = f'    expect(pod.status.phase) == "Running"\nE   AssertionError: {e}\n\ntests/test_shop.py:31: AssertionError'
    w.note(
        "pods",
        "pods of shop",
        'web   Pending   ImagePullBackOff   Back-off pulling image "shop/web:1"\ndb    Running   1/1',
    )
    w.note(
        "event",
        "warning events",
        "3s   pod/web   Failed   Error: ErrImagePull: shop/web:1: not found\n1s   pod/web   BackOff   Back-off pulling image",
    )
    w.note(
        "pod-log",
        "log of db/main",
        "\n".join(f"2026-01-01T00:00:0{i}Z ready for connections {i}" for i in range(8)),
    )
    w.timeline.kept = "export KUBECONFIG=~/.cove/kept/test_shop/kubeconfig"
    w.note("phase", "teardown")
    return w.end("failed", failure)


def skipped(name: str = "tests/test_helm.py::test_the_chart") -> Timeline:
    """A test that was not run."""
    return Writer(name).end("skipped", "Skipped: helm is missing")


def hostile() -> Timeline:
    """A test whose every text tries to be a program."""
    evil = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>'\"&lt;`${1}<!--"
    w = Writer(f"tests/test_evil.py::test[{evil}]")
    call = w.call(
        "get",
        "pods",
        evil,
        response={"metadata": {"name": evil, evil: [evil, "\u2028", "a\nb"]}},
        request=evil,
        error=evil,
        agent=evil,
    )
    link = Assertion(
        w.timeline.next_id(), w.timeline.now(), call.id, evil, "==", evil, evil, False, evil, evil
    )
    w.timeline.add(link)
    w.note(evil, evil, evil, {evil: evil})
    w.note("pod-log", evil, evil)
    return w.end("failed", evil)


def many(count: int, events: int) -> list[Timeline]:
    """A large run; every 50th test fails."""
    made = []
    for n in range(count):
        w = Writer(f"tests/test_{n // 40:02}.py::test_number_{n}")
        for i in range(events // 2):
            call = w.call("get" if i % 3 else "update", "pods", f"web-{n}-{i}", response=POD)
            w.timeline.add(
                Assertion(
                    w.timeline.next_id(),
                    w.timeline.now(),
                    call.id,
                    "status.phase",
                    "==",
                    "'Pending'",
                    "'Pending'",
                    not (n % 50 == 0 and i == events // 2 - 1),
                    f"tests/test_{n}.py:{i}",
                )
            )
        made.append(
            w.end("passed" if n % 50 else "failed", "" if n % 50 else "E   AssertionError: no")
        )
    return made
