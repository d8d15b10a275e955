"""A scheduler's placement that tests play on: nodes and pods without a server."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cove.controllers.scheduler._nodes import PodInfo
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

    def __init__(self, *nodes: Doc, namespaces: dict[str, Doc] | None = None) -> None:
        known = namespaces or {}
        self.placement = Placement(random.Random(1), lambda name: known.get(name, {}))
        for one in nodes:
            self.placement.set_node(one)

    def put(self, doc: Doc, node: str = "", started: str = "") -> str:
        """Where a pod goes; onto ``node`` if one is told."""
        info = PodInfo(doc)
        info.node = node or self.placement.place(info, doc["spec"])
        info.started = started
        self.placement.add_pod(info)
        return info.node

    def error(self, doc: Doc) -> UnschedulableError:
        """Why a pod goes nowhere."""
        with pytest.raises(UnschedulableError) as caught:
            self.put(doc)
        return caught.value

    def why_not(self, doc: Doc) -> str:
        """The same as a text, without its full stop."""
        return str(self.error(doc)).removesuffix(".")
