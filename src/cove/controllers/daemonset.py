"""DaemonSet: one pod on every node that takes it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

import asyncio
from typing import Any

from cove.client.meta import controller_of, key_of
from cove.controllers._controller import Context, Controller
from cove.controllers._expectations import Expectations
from cove.controllers._history import HASH, sync_revision, truncate
from cove.controllers._pods import (
    Owner,
    PodControl,
    available,
    by_controller,
    claim,
    is_ready,
    select,
    template_object,
)
from cove.controllers._resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from cove.controllers.scheduler._filters import matches_affinity, tolerates
from cove.controllers.scheduler._nodes import NodeInfo
from cove.kube.labels import from_document
from cove.kube.status import StatusError

__all__ = ["DaemonSetController"]

Doc = dict[str, Any]

LABEL = "controller-revision-hash"
GENERATION = "pod-template-generation"
BURST = 250
# Daemons run on nodes that others are kept from.
_TOLERATIONS: tuple[tuple[str, str], ...] = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSetController(Controller):
    """Keys are DaemonSets."""

    name = "daemonset-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.informer(DAEMON_SETS)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.nodes = self.informer(NODES)
        self.revisions = self.informer(CONTROLLER_REVISIONS)
        self.revisions.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.control = PodControl(self.client, self.recorder)
        self.expectations = Expectations(self.clock)
        self.watch_own(self.sets)
        self.pods.add_handler(self._pod_changed)
        self.nodes.add_handler(self._node_changed)

    def _pod_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        pod = new or old
        assert pod is not None
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "DaemonSet":
            return
        key = f"{pod['metadata']['namespace']}/{owner['name']}"
        if old is None:
            self.expectations.created(key)
        if new is None or "deletionTimestamp" in new["metadata"]:
            self.expectations.deleted(key, pod["metadata"]["uid"])
        self.queue.add(key)

    def _node_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if old is not None and new is not None:
            same = old["metadata"].get("labels") == new["metadata"].get("labels")
            if same and old.get("spec") == new.get("spec"):
                return
        for obj in self.sets:
            # Nodes come in crowds: one look for all of them.
            self.queue.add_after(key_of(obj), 0.02)

    async def sync(self, key: str) -> None:
        """One set."""
        obj = self.sets.get_key(key)
        if obj is None:
            self.expectations.forget(key)
            return
        if "deletionTimestamp" in obj["metadata"]:
            return
        await _Sync(self, key, obj).run()


def _spec_for(template: Doc, node: str) -> Doc:
    """The template's spec, for one node only and with the daemons' tolerations."""
    spec = dict(template["spec"])
    only = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = dict(spec.get("affinity") or {})
    of_node = dict(affinity.get("nodeAffinity") or {})
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = (of_node.get(field) or {}).get("nodeSelectorTerms") or [{}]
    of_node[field] = {"nodeSelectorTerms": [{**t, "matchFields": [only]} for t in terms]}
    spec["affinity"] = {**affinity, "nodeAffinity": of_node}
    spec["tolerations"] = _tolerations(spec)
    return spec


def _tolerations(spec: Doc) -> list[Doc]:
    wanted = [*_TOLERATIONS]
    if spec.get("hostNetwork"):
        wanted.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    have = list(spec.get("tolerations") or ())
    for key, effect in wanted:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in have:
            have.append(toleration)
    return have


class _Sync:
    """One look at one set."""

    def __init__(self, controller: DaemonSetController, key: str, obj: Doc) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.obj = obj
        self.spec: Doc = obj["spec"]
        self.owner = Owner(obj, DAEMON_SETS, "DaemonSet")
        self.now = controller.clock.now()

    async def run(self) -> None:
        metadata = self.obj["metadata"]
        status = self.obj.get("status", {})
        revision, revisions, collisions = await sync_revision(
            self.client,
            self.owner,
            self.c.revisions.indexed("controller", metadata["uid"]),
            dict((self.spec["template"].get("metadata") or {}).get("labels") or {}),
            int(status.get("collisionCount") or 0),
        )
        self.hash: str = revision["metadata"]["labels"][HASH]
        self.collisions = collisions
        pods = await claim(
            self.client,
            PODS,
            self.owner,
            [
                *self.c.pods.indexed("controller", metadata["uid"]),
                *self.c.pods.indexed("controller", f"orphan/{metadata['namespace']}"),
            ],
            select(from_document(self.spec.get("selector"))),
        )
        self.by_node: dict[str, list[Doc]] = {}
        for pod in pods:
            self.by_node.setdefault(_node_of(pod), []).append(pod)
        self.should = {n["metadata"]["name"]: self._should(n) for n in self.c.nodes}
        if self.c.expectations.satisfied(self.key):
            create, delete = self._plan()
            if not create and not delete:
                create, delete = self._roll()
            await self._carry_out(create, delete)
        await self._write()
        live = {p["metadata"].get("labels", {}).get(LABEL) for p in pods} | {self.hash}
        names = {
            r["metadata"]["name"] for r in revisions if r["metadata"]["labels"].get(HASH) in live
        }
        await truncate(self.client, revisions, names, self.spec.get("revisionHistoryLimit", 10))

    def _should(self, node: Doc) -> tuple[bool, bool]:
        """(whether a pod is to run there, whether one that does may stay)."""
        info = NodeInfo(node["metadata"]["name"], 0.0)
        info.set_node(node)
        spec = self.spec["template"]["spec"]
        if spec.get("nodeName") and spec["nodeName"] != info.name:
            return False, False
        if not matches_affinity(spec, info):
            return False, False
        tolerations = _tolerations(spec)
        refused = [
            t
            for t in info.taints
            if t.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(tolerations, t)
        ]
        if not refused:
            return True, True
        return False, not any(t["effect"] == "NoExecute" for t in refused)

    def _plan(self) -> tuple[list[str], list[Doc]]:
        create: list[str] = []
        delete: list[Doc] = []
        for node, (run, stay) in self.should.items():
            pods = self.by_node.get(node, [])
            if run and not pods:
                create.append(node)
                continue
            kept: list[Doc] = []
            for pod in pods:
                if "deletionTimestamp" in pod["metadata"]:
                    continue
                if not stay:
                    delete.append(pod)
                elif pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
                    self._ended(node, pod)
                    delete.append(pod)
                else:
                    kept.append(pod)
            if len(kept) > 1 and not self._surge():
                kept.sort(key=lambda p: (not is_ready(p), p["metadata"]["creationTimestamp"]))
                delete += kept[1:]
        for node, pods in self.by_node.items():
            if node and node not in self.should:
                delete += [p for p in pods if "deletionTimestamp" not in p["metadata"]]
        return create, delete

    def _ended(self, node: str, pod: Doc) -> None:
        failed = pod.get("status", {}).get("phase") == "Failed"
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self.c.recorder.event(
            self.owner.involved,
            "Warning" if failed else "Normal",
            "FailedDaemonPod" if failed else "SucceededDaemonPod",
            f"Found {'failed' if failed else 'succeeded'} daemon pod {name} on node {node}, "
            f"will try to {'kill' if failed else 'delete'} it",
        )

    def _strategy(self, field: str) -> int:
        rolling = (self.spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        value = rolling.get(field) or 0
        wanted = sum(1 for run, _ in self.should.values() if run)
        if isinstance(value, str):
            return -(-int(value.rstrip("%")) * wanted // 100)
        return int(value)

    def _surge(self) -> int:
        return self._strategy("maxSurge")

    def _roll(self) -> tuple[list[str], list[Doc]]:
        """The next pods to replace, as many as may be missing (or doubled) at a time."""
        if (self.spec.get("updateStrategy") or {}).get("type") == "OnDelete":
            return [], []
        surge = self._surge()
        old: dict[str, Doc] = {}
        unavailable = doubled = 0
        for node, (run, _) in self.should.items():
            if not run:
                continue
            alive = [
                p for p in self.by_node.get(node, []) if "deletionTimestamp" not in p["metadata"]
            ]
            outdated = [p for p in alive if self._outdated(p)]
            good = [p for p in alive if self._available(p)]
            if not good:
                unavailable += 1
            if len(alive) > 1:
                doubled += 1
            if outdated:
                old[node] = outdated[0]
        if surge:
            create, delete = [], []
            for node, pod in old.items():
                new = [
                    p
                    for p in self.by_node.get(node, [])
                    if not self._outdated(p) and "deletionTimestamp" not in p["metadata"]
                ]
                if any(self._available(p) for p in new):
                    delete.append(pod)
                elif not new and doubled < surge:
                    create.append(node)
                    doubled += 1
            return create, delete
        room = max(self._strategy("maxUnavailable"), 1)
        doomed: list[Doc] = []
        for pod in old.values():
            if not self._available(pod):
                doomed.append(pod)
            elif unavailable < room:
                unavailable += 1
                doomed.append(pod)
        return [], doomed

    def _outdated(self, pod: Doc) -> bool:
        return (pod["metadata"].get("labels") or {}).get(LABEL) != self.hash

    def _available(self, pod: Doc) -> bool:
        return available(pod, self.spec.get("minReadySeconds", 0), self.now)

    async def _carry_out(self, create: list[str], delete: list[Doc]) -> None:
        create, delete = create[:BURST], delete[:BURST]
        if not create and not delete:
            return
        expectations = self.c.expectations
        expectations.expect(self.key, len(create), [p["metadata"]["uid"] for p in delete])

        async def make(node: str) -> None:
            template = self.spec["template"]
            pod = template_object(template, self.owner)
            pod["spec"] = _spec_for(template, node)
            pod["metadata"]["labels"] = {
                **(pod["metadata"].get("labels") or {}),
                LABEL: self.hash,
                GENERATION: str(_generation(self.obj)),
            }
            try:
                await self.c.control.create(self.owner, pod)
            except StatusError:
                expectations.created(self.key)
                raise

        async def remove(pod: Doc) -> None:
            try:
                await self.c.control.delete(self.owner, pod)
            except StatusError as e:
                expectations.deleted(self.key, pod["metadata"]["uid"])
                if e.code != 404:
                    raise

        results = await asyncio.gather(
            *map(make, create), *map(remove, delete), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _write(self) -> None:
        counts = dict.fromkeys(
            ("desired", "current", "misscheduled", "ready", "available", "updated"), 0
        )
        for node, (run, _) in self.should.items():
            alive = [
                p for p in self.by_node.get(node, []) if "deletionTimestamp" not in p["metadata"]
            ]
            if not run:
                counts["misscheduled"] += bool(alive)
                continue
            counts["desired"] += 1
            if not alive:
                continue
            counts["current"] += 1
            pod = min(alive, key=lambda p: str(p["metadata"]["creationTimestamp"]))
            counts["ready"] += is_ready(pod)
            counts["available"] += self._available(pod)
            newest = max(alive, key=lambda p: str(p["metadata"]["creationTimestamp"]))
            counts["updated"] += not self._outdated(newest)
        status: Doc = {
            "currentNumberScheduled": counts["current"],
            "numberMisscheduled": counts["misscheduled"],
            "desiredNumberScheduled": counts["desired"],
            "numberReady": counts["ready"],
            "observedGeneration": self.obj["metadata"].get("generation", 0),
        }
        for field, value in (
            ("updatedNumberScheduled", counts["updated"]),
            ("numberAvailable", counts["available"]),
            ("numberUnavailable", counts["desired"] - counts["available"]),
        ):
            if value > 0:
                status[field] = value
        old = self.obj.get("status", {})
        if self.collisions:
            status["collisionCount"] = self.collisions
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        if status != old:
            await self.client.update(
                DAEMON_SETS, {**self.obj, "status": status}, subresource="status"
            )
        seconds = self.spec.get("minReadySeconds", 0)
        if seconds and counts["ready"] != counts["available"]:
            self.c.queue.add_after(self.key, float(seconds))


def _generation(obj: Doc) -> int:
    annotations = obj["metadata"].get("annotations") or {}
    text = annotations.get("deprecated.daemonset.template.generation", "")
    return int(text) if text.isdigit() else int(obj["metadata"].get("generation", 0))


def _node_of(pod: Doc) -> str:
    """The node a pod is on or meant for."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for requirement in term.get("matchFields") or ():
            if requirement.get("key") == "metadata.name" and requirement.get("values"):
                return str(requirement["values"][0])
    return ""
