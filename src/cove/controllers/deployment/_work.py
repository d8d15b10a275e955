"""Work on one Deployment: its status, its newest ReplicaSet, and the size of its sets.

What the strategies have in common; each write replaces what was known by the answer.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller/deployment
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cove.client.meta import controller_of
from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Retry
from cove.controllers._hash import template_hash
from cove.controllers._pods import Owner, namespace_terminating
from cove.controllers._resources import DEPLOYMENTS, REPLICA_SETS
from cove.controllers.deployment import _revisions as rev
from cove.controllers.deployment import _status as st
from cove.kube.status import StatusError

if TYPE_CHECKING:
    from cove.controllers.deployment._controller import DeploymentController

__all__ = ["Work"]

Doc = dict[str, Any]


class Work:
    """One look at one Deployment; ``d`` is replaced by what the server answers to writes."""

    def __init__(self, controller: DeploymentController, key: str, deployment: Doc) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.d = deployment
        self.now = controller.clock.now()
        # The sets that belong to it, claimed at the start of a look.
        self.sets: list[Doc] = []

    def _involved(self) -> Doc:
        return Owner(self.d, DEPLOYMENTS, "Deployment").involved

    @staticmethod
    def _join(new: Doc | None, old: list[Doc]) -> list[Doc]:
        return [*old, new] if new is not None else list(old)

    # -- status

    async def _write(self, status: Doc) -> None:
        """Write the status if it differs, annotations included: they may change with it."""
        if not status.get("conditions"):
            status.pop("conditions", None)
        if status == self.d.get("status", {}):
            self._await_deadline(status)
            return
        await self._update_status(status)

    async def _update_status(self, status: Doc) -> None:
        self.d = await self.client.update(
            DEPLOYMENTS, {**self.d, "status": status}, subresource="status"
        )

    def _await_deadline(self, status: Doc) -> None:
        """Nothing will tell that nothing happened: look again when the deadline has passed."""
        current = find(self.d.get("status", {}).get("conditions"), "Progressing")
        if not st.has_deadline(self.d) or current is None:
            return
        if st.complete(self.d, status) or current.get("reason") == st.TIMED_OUT:
            return
        left = self.d["spec"]["progressDeadlineSeconds"] - seconds_since(
            current.get("lastUpdateTime"), self.now
        )
        self.c.queue.add_after(self.key, max(left, 0.0) + 1.0)

    async def _pause_conditions(self) -> None:
        if not st.has_deadline(self.d):
            return
        status = dict(self.d.get("status", {}))
        current = find(status.get("conditions"), "Progressing")
        if current is not None and current.get("reason") == st.TIMED_OUT:
            return
        paused = bool(self.d["spec"].get("paused"))
        told = current is not None and current.get("reason") == st.PAUSED
        if paused == told:
            return
        reason, message = (
            (st.PAUSED, "Deployment is paused") if paused else (st.RESUMED, "Deployment is resumed")
        )
        st.set_condition(status, st.condition("Progressing", "Unknown", reason, message, self.now))
        await self._update_status(status)

    # -- the new ReplicaSet

    async def _all(self, *, create: bool) -> tuple[Doc | None, list[Doc]]:
        """(new set, old sets), with revisions up to date; makes the new one if asked."""
        new = rev.find_new(self.d, self.sets)
        old = rev.olds(new, self.sets)
        revision = rev.max_revision(old) + 1
        if new is not None:
            return await self._refresh(new, revision), old
        if not create:
            return None, old
        return await self._create(old, revision), old

    async def _refresh(self, new: Doc, revision: int) -> Doc:
        metadata = new["metadata"]
        annotations = dict(metadata.get("annotations", {}))
        changed = rev.set_annotations(self.d, annotations, revision)
        seconds = self.d["spec"].get("minReadySeconds", 0)
        if changed or new["spec"].get("minReadySeconds", 0) != seconds:
            spec = {**new["spec"], "minReadySeconds": seconds}
            return await self._replace(
                {**new, "metadata": {**metadata, "annotations": annotations}, "spec": spec}
            )
        update = self._take_revision(metadata.get("annotations", {}).get(rev.REVISION, ""))
        status = dict(self.d.get("status", {}))
        if st.has_deadline(self.d) and find(status.get("conditions"), "Progressing") is None:
            st.set_condition(
                status,
                st.condition(
                    "Progressing",
                    "True",
                    "FoundNewReplicaSet",
                    f'Found new replica set "{metadata["name"]}"',
                    self.now,
                ),
            )
            update = True
        if update:
            await self._update_status(status)
        return new

    def _take_revision(self, revision: str) -> bool:
        metadata = self.d["metadata"]
        annotations = metadata.get("annotations", {})
        if annotations.get(rev.REVISION) == revision:
            return False
        self.d = {
            **self.d,
            "metadata": {**metadata, "annotations": {**annotations, rev.REVISION: revision}},
        }
        return True

    async def _replace(self, rs: Doc) -> Doc:
        """Write a set and keep the answer in place of what was known."""
        written = await self.client.update(REPLICA_SETS, rs)
        uid = written["metadata"]["uid"]
        self.sets = [written if s["metadata"]["uid"] == uid else s for s in self.sets]
        return written

    async def _create(self, old: list[Doc], revision: int) -> Doc | None:
        d, metadata = self.d, self.d["metadata"]
        template = d["spec"]["template"]
        status = dict(d.get("status", {}))
        digest = template_hash(template, status.get("collisionCount"))
        labels = {**(template.get("metadata", {}).get("labels") or {}), rev.HASH: digest}
        selector = dict(d["spec"]["selector"])
        selector["matchLabels"] = {**selector.get("matchLabels", {}), rev.HASH: digest}
        name = f"{metadata['name']}-{digest}"
        new: Doc = {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {},
                "ownerReferences": [Owner(d, DEPLOYMENTS, "Deployment").reference],
            },
            "spec": {
                "replicas": 0,
                "selector": selector,
                "template": {
                    **template,
                    "metadata": {**(template.get("metadata") or {}), "labels": labels},
                },
            },
        }
        if d["spec"].get("minReadySeconds"):
            new["spec"]["minReadySeconds"] = d["spec"]["minReadySeconds"]
        size = rev.new_replicas(d, [*old, new], new)
        new["spec"]["replicas"] = size
        annotations = new["metadata"]["annotations"]
        rev.set_annotations(d, annotations, revision)
        rev.set_replicas_annotations(
            annotations, rev.replicas(d), rev.replicas(d) + rev.max_surge(d)
        )
        existed = False
        try:
            created = await self.client.create(REPLICA_SETS, new)
        except StatusError as e:
            if e.code == 409 and e.reason == "AlreadyExists":
                created, existed = await self._same_or_collision(name), True
            elif namespace_terminating(e):
                return None
            else:
                await self._tell_failure(name, e)
                raise
        self.sets.append(created)
        if not existed and size > 0:
            self.c.recorder.event(
                self._involved(),
                "Normal",
                "ScalingReplicaSet",
                f"Scaled up replica set {name} from 0 to {size}",
            )
        update = self._take_revision(str(revision))
        if not existed and st.has_deadline(d):
            st.set_condition(
                status,
                st.condition(
                    "Progressing",
                    "True",
                    "NewReplicaSetCreated",
                    f'Created new replica set "{name}"',
                    self.now,
                ),
            )
            update = True
        if update:
            await self._update_status(status)
        return created

    async def _same_or_collision(self, name: str) -> Doc:
        """The set of that name if it is ours and equal; else count a collision and retry."""
        metadata = self.d["metadata"]
        rs = await self.client.get(REPLICA_SETS, name, metadata["namespace"])
        owner = controller_of(rs)
        if (
            owner is not None
            and owner["uid"] == metadata["uid"]
            and rev.same_template(self.d["spec"]["template"], rs["spec"]["template"])
        ):
            return rs
        status = dict(self.d.get("status", {}))
        status["collisionCount"] = status.get("collisionCount", 0) + 1
        await self._update_status(status)
        raise Retry

    async def _tell_failure(self, name: str, error: StatusError) -> None:
        message = f'Failed to create new replica set "{name}": {error}'
        status = dict(self.d.get("status", {}))
        if st.has_deadline(self.d):
            st.set_condition(
                status,
                st.condition("Progressing", "False", "ReplicaSetCreateError", message, self.now),
            )
            await self._update_status(status)
        self.c.recorder.event(self._involved(), "Warning", "ReplicaSetCreateError", message)

    # -- size

    async def _resize(self, rs: Doc, size: int) -> Doc:
        """A set of a new size, noting what the Deployment wanted."""
        metadata = rs["metadata"]
        annotations = dict(metadata.get("annotations", {}))
        wanted = rev.replicas(self.d)
        noted = rev.set_replicas_annotations(annotations, wanted, wanted + rev.max_surge(self.d))
        before = rev.replicas(rs)
        if before == size and not noted:
            return rs
        written = await self._replace(
            {
                **rs,
                "metadata": {**metadata, "annotations": annotations},
                "spec": {**rs["spec"], "replicas": size},
            }
        )
        if before != size:
            self.c.recorder.event(
                self._involved(),
                "Normal",
                "ScalingReplicaSet",
                f"Scaled {'up' if size > before else 'down'} replica set {metadata['name']} "
                f"from {before} to {size}",
            )
        return written
