"""An answer on a timeline, for tests of what is recorded."""

from __future__ import annotations

import copy
from typing import Any

from cove.testing.timeline import Call, Link, Timeline
from cove.testing.values import wrap

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {
        "hostNetwork": False,
        "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}],
    },
    "status": {"phase": "Pending", "podIP": "10.0.0.1"},
}


def answered(
    document: Any = POD, *, verb: str = "get", resource: str = "pods", name: str = "web"
) -> tuple[Timeline, Any]:
    """A timeline with one call, and what it answered, wrapped."""
    timeline = Timeline("tests/test_shop.py::test_web")
    path = f"/api/v1/namespaces/default/{resource}" + (f"/{name}" if name else "")
    call = Call(
        timeline.next_id(),
        timeline.now(),
        "GET",
        path,
        kind="kube",
        verb=verb,
        version="v1",
        resource=resource,
        namespace="default",
        name=name,
        status=200,
        took=0.001,
    )
    timeline.add(call)
    return timeline, wrap(copy.deepcopy(document), Link(timeline, call.id))
