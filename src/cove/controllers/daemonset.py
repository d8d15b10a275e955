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
# A pod that keeps failing on a node is replaced after a second, then two, up to this.
BACKOFF_LIMIT = 900.0
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
        # Set (key), node → (when a failed pod was last removed, seconds to wait since).
        self.backoff: dict[str, dict[str, tuple[float, float]]] = {}
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
            self.backoff.pop(key, None)
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
            if _ended(pod) and "deletionTimestamp" in pod["metadata"]:
                continue  # whatever holds it, it is in nobody's way
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
        """(nodes that need a pod, pods that are not to be)."""
        create: list[str] = []
        delete: list[Doc] = []
        for node, (run, stay) in self.should.items():
            pods = self.by_node.get(node, [])
            if not pods:
                if run:
                    create.append(node)
                continue
            alive = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
            if not stay:
                delete += alive
                continue
            ended = [p for p in alive if _ended(p)]
            delete += [p for p in ended if self._may_remove(node, p)]
            kept = sorted((p for p in alive if not _ended(p)), key=_by_age)
            if not self._surge():
                delete += kept[1:]
            elif not kept:
                if run:
                    create.append(node)
            else:
                delete += self._doubles(kept)
        for node, pods in self.by_node.items():
            if node and node not in self.should:
                delete += [p for p in pods if "deletionTimestamp" not in p["metadata"]]
        return create, delete

    def _doubles(self, pods: list[Doc]) -> list[Doc]:
        """What goes of a node's pods with a surge: two stay as long as the old one serves."""
        new = [p for p in pods if not self._outdated(p)]
        old = [p for p in pods if self._outdated(p)]
        gone = new[1:] + old[1:]
        if new and old and (not is_ready(old[0]) or self._available(new[0])):
            gone.append(old[0])
        return gone

    def _may_remove(self, node: str, pod: Doc) -> bool:
        """Whether a pod that ended is removed now; a failing one is waited for longer and longer."""
        failed = pod.get("status", {}).get("phase") == "Failed"
        if failed:
            now, waits = self.c.clock.monotonic(), self.c.backoff.setdefault(self.key, {})
            since, wait = waits.get(node, (0.0, 0.0))
            if now - since > 2 * BACKOFF_LIMIT:
                wait = 0.0
            if now - since < wait:
                self.c.queue.add_after(self.key, wait - (now - since))
                return False
            waits[node] = (now, min(wait * 2, BACKOFF_LIMIT) or 1.0)
        self._tell(node, pod, failed=failed)
        return True

    def _tell(self, node: str, pod: Doc, *, failed: bool) -> None:
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
        free: list[tuple[str, Doc]] = []
        ready: list[tuple[str, Doc]] = []
        doomed: list[Doc] = []
        taken = 0
        for node, (run, _) in self.should.items():
            pods = self.by_node.get(node, [])
            if not run and not pods:
                continue
            pods = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
            pods.sort(key=_by_age)
            new = [p for p in pods if not self._outdated(p)]
            old = [p for p in pods if self._outdated(p)]
            if len(new) > 1 or len(old) > 1 or (surge == 0 and not pods):
                taken += 1  # the plan sees to it
            elif not old:
                taken += surge == 0 and not self._available(new[0])
            elif not new:
                serves = self._available(old[0])
                (ready if serves else free).append((node, old[0]))
                taken += surge == 0 and not serves
            elif self._available(new[0]):
                doomed.append(old[0])
            else:
                taken += 1
        # What does not serve is replaced in any case, the rest as far as there is room.
        room = (surge or max(self._strategy("maxUnavailable"), 1)) - taken
        chosen = free + ready[: max(room, 0)]
        if surge:
            return [node for node, _ in chosen], doomed
        return [], [pod for _, pod in chosen]

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
            pods = self.by_node.get(node)
            if not run:
                counts["misscheduled"] += bool(pods)
                continue
            counts["desired"] += 1
            if not pods:
                continue
            counts["current"] += 1
            pod = min(pods, key=_by_age)
            counts["ready"] += is_ready(pod)
            counts["available"] += self._available(pod)
            counts["updated"] += not self._outdated(pod)
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


def _ended(pod: Doc) -> bool:
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def _by_age(pod: Doc) -> tuple[bool, str, str]:
    """Sort key: those on a node first, the oldest of them."""
    metadata = pod["metadata"]
    return (not pod["spec"].get("nodeName"), metadata["creationTimestamp"], metadata["name"])


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
