"""The Deployment controller: which step a Deployment needs now, and taking it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from typing import Any

from cove.client.meta import controller_of, key_of
from cove.controllers._conditions import find, seconds_since
from cove.controllers._controller import Context, Controller, Retry
from cove.controllers._hash import template_hash
from cove.controllers._pods import (
    Owner,
    by_controller,
    claim,
    is_active,
    namespace_terminating,
    select,
)
from cove.controllers._resources import DEPLOYMENTS, PODS, REPLICA_SETS
from cove.controllers.deployment import _revisions as rev
from cove.controllers.deployment import _status as st
from cove.kube.labels import from_document
from cove.kube.status import StatusError

__all__ = ["DeploymentController"]

Doc = dict[str, Any]


class DeploymentController(Controller):
    """Rolls templates out over ReplicaSets."""

    name = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deployments = self.informer(DEPLOYMENTS)
        self.sets = self.informer(REPLICA_SETS)
        self.sets.add_index("controller", by_controller)
        self.pods = self.informer(PODS)
        self.pods.add_index("controller", by_controller)
        self.recorder = context.recorder(self.name)
        self.watch_own(self.deployments)
        self.watch_owned(self.sets, "Deployment")
        self.sets.add_handler(self._orphan_changed)
        self.pods.add_handler(self._pod_gone)

    def _orphan_changed(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        if new is None or controller_of(new) is not None:
            return
        metadata = new["metadata"]
        for deployment in self.deployments.list(metadata["namespace"]):
            selector = from_document(deployment["spec"].get("selector"))
            if not selector.empty and selector.matches(metadata.get("labels")):
                self.queue.add(key_of(deployment))

    def _pod_gone(self, old: Doc | None, new: Doc | None, *, initial: bool) -> None:
        """Recreate waits for the last old pod."""
        pod = old if new is None else new
        if pod is None or (new is not None and is_active(new)):
            return
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "ReplicaSet":
            return
        namespace = pod["metadata"]["namespace"]
        rs = self.sets.get(namespace, owner["name"])
        parent = controller_of(rs) if rs is not None else None
        if parent is None:
            return
        deployment = self.deployments.get(namespace, parent["name"])
        if deployment and deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            self.queue.add(key_of(deployment))

    async def sync(self, key: str) -> None:
        """One Deployment."""
        found = self.deployments.get_key(key)
        if found is None:
            return
        await _Sync(self, key, dict(found)).run()


class _Sync:
    """One look at one Deployment; ``d`` is replaced by what the server answers to writes."""

    def __init__(self, controller: DeploymentController, key: str, deployment: Doc) -> None:
        self.c = controller
        self.client = controller.client
        self.key = key
        self.d = deployment
        self.now = controller.clock.now()

    def _involved(self) -> Doc:
        return Owner(self.d, DEPLOYMENTS, "Deployment").involved

    async def run(self) -> None:
        d = self.d
        selector = from_document(d["spec"].get("selector"))
        if selector.empty:
            self.c.recorder.event(
                self._involved(),
                "Warning",
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return
        metadata = d["metadata"]
        candidates = [
            *self.c.sets.indexed("controller", metadata["uid"]),
            *self.c.sets.indexed("controller", f"orphan/{metadata['namespace']}"),
        ]
        owner = Owner(d, DEPLOYMENTS, "Deployment")
        self.sets = await claim(self.client, REPLICA_SETS, owner, candidates, select(selector))
        if "deletionTimestamp" in metadata:
            new, old = await self._all(create=False)
            await self._write(st.calculate(self.d, self._join(new, old), new, self.now))
            return
        await self._pause_conditions()
        if self.d["spec"].get("paused"):
            await self._scale_only()
            return
        if rev.ROLLBACK_TO in metadata.get("annotations", {}):
            await self._roll_back()
            return
        if self._scaling():
            await self._scale_only()
        elif rev.is_rolling(self.d):
            await self._rolling()
        else:
            await self._recreate()

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

    # -- scaling

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

    def _scaling(self) -> bool:
        """Whether the Deployment was resized since its sets were."""
        new = rev.find_new(self.d, self.sets)
        for rs in rev.active(self._join(new, rev.olds(new, self.sets))):
            desired = rs["metadata"].get("annotations", {}).get(rev.DESIRED)
            if desired is not None and desired != str(rev.replicas(self.d)):
                return True
        return False

    async def _scale_only(self) -> None:
        new, old = await self._all(create=False)
        await self._scale(new, old)
        if self.d["spec"].get("paused"):
            await self._clean_up(old)
        new = rev.find_new(self.d, self.sets)
        sets = self._join(new, rev.olds(new, self.sets))
        await self._write(st.calculate(self.d, sets, new, self.now))

    async def _scale(self, new: Doc | None, old: list[Doc]) -> None:
        wanted = rev.replicas(self.d)
        running = rev.active(self._join(new, old))
        if len(running) <= 1:
            only = running[0] if running else new
            if only is None:
                only = max(old, key=rev.by_age, default=None)
            if only is not None and rev.replicas(only) != wanted:
                await self._resize(only, wanted)
            return
        if rev.saturated(self.d, new):
            for rs in rev.active(old):
                await self._resize(rs, 0)
            return
        if rev.is_rolling(self.d):
            await self._scale_in_proportion(running)

    async def _scale_in_proportion(self, running: list[Doc]) -> None:
        """Spread a new size over several sets as they are sized now: no new rollout step."""
        wanted = rev.replicas(self.d)
        allowed = wanted + rev.max_surge(self.d) if wanted > 0 else 0
        total = rev.spec_sum(running)
        to_add = allowed - total
        # The largest first; of equals the newest when growing, the oldest when shrinking.
        running = sorted(running, key=rev.by_age, reverse=to_add > 0)
        running.sort(key=rev.replicas, reverse=True)
        sizes: list[int] = []
        added = 0
        for rs in running:
            size = rev.replicas(rs)
            if to_add:
                share = self._share(rs, to_add, added)
                size += share
                added += share
            sizes.append(size)
        sizes[0] = max(sizes[0] + to_add - added, 0)
        for rs, size in zip(running, sizes, strict=True):
            await self._resize(rs, size)

    def _share(self, rs: Doc, to_add: int, added: int) -> int:
        size = rev.replicas(rs)
        left = to_add - added
        if size == 0 or left == 0:
            return 0
        wanted = rev.replicas(self.d)
        if wanted == 0:
            share = -size
        else:
            most = int(rs["metadata"].get("annotations", {}).get(rev.MAX, "0") or 0)
            most = most or int(self.d.get("status", {}).get("replicas", 0)) or size
            target = wanted + rev.max_surge(self.d)
            # Half away from zero, as Go rounds.
            share = int(size * target / most + 0.5) - size
        return min(share, left) if to_add > 0 else max(share, left)

    # -- strategies

    async def _rolling(self) -> None:
        new, old = await self._all(create=True)
        if new is not None:
            await self._roll_up(new) or await self._roll_down(new, old)
        await self._finish()

    async def _roll_up(self, new: Doc) -> bool:
        size, wanted = rev.replicas(new), rev.replicas(self.d)
        if size == wanted:
            return False
        if size > wanted:
            await self._resize(new, wanted)
            return True
        size = rev.new_replicas(self.d, self.sets, new)
        scaled = size != rev.replicas(new)
        await self._resize(new, size)
        return scaled

    async def _roll_down(self, new: Doc, old: list[Doc]) -> bool:
        """Shrink the old sets as far as availability allows, the unhealthy pods first."""
        if rev.spec_sum(old) == 0:
            return False
        least = rev.replicas(self.d) - rev.max_unavailable(self.d)
        new_unavailable = rev.replicas(new) - status_of(new, "availableReplicas")
        spare = rev.spec_sum(self.sets) - least - new_unavailable
        if spare <= 0:
            return False
        cleaned = await self._remove_unhealthy(old, spare)
        old = rev.olds(new, self.sets)
        available = rev.status_sum(self.sets, "availableReplicas")
        spare = available - least
        removed = 0
        for rs in sorted(rev.active(old), key=rev.by_age):
            if removed >= spare:
                break
            count = min(rev.replicas(rs), spare - removed)
            await self._resize(rs, rev.replicas(rs) - count)
            removed += count
        return cleaned + removed > 0

    async def _remove_unhealthy(self, old: list[Doc], limit: int) -> int:
        removed = 0
        for rs in sorted(old, key=rev.by_age):
            if removed >= limit:
                break
            size = rev.replicas(rs)
            available = status_of(rs, "availableReplicas")
            if size == 0 or size == available:
                continue
            count = min(limit - removed, size - available)
            await self._resize(rs, size - count)
            removed += count
        return removed

    async def _recreate(self) -> None:
        new, old = await self._all(create=False)
        running = rev.active(old)
        if running:
            for rs in running:
                await self._resize(rs, 0)
            await self._finish(clean=False)
            return
        if self._old_pods_running(old):
            await self._finish(clean=False)
            return
        if new is None:
            new, old = await self._all(create=True)
        if new is not None:
            await self._resize(new, rev.replicas(self.d))
        await self._finish()

    def _old_pods_running(self, old: list[Doc]) -> bool:
        return any(
            pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for rs in old
            for pod in self.c.pods.indexed("controller", rs["metadata"]["uid"])
        )

    async def _finish(self, *, clean: bool = True) -> None:
        new = rev.find_new(self.d, self.sets)
        old = rev.olds(new, self.sets)
        if clean and st.complete(self.d, self.d.get("status", {})):
            await self._clean_up(old)
        await self._write(st.roll_out(self.d, self._join(new, old), new, self.now))

    async def _clean_up(self, old: list[Doc]) -> None:
        """Delete the oldest empty sets beyond the history's limit."""
        limit = self.d["spec"].get("revisionHistoryLimit")
        if limit is None or limit == st.NO_DEADLINE:
            return
        alive = [rs for rs in old if "deletionTimestamp" not in rs["metadata"]]
        surplus = len(alive) - limit
        if surplus <= 0:
            return
        for rs in sorted(alive, key=lambda s: (rev.revision_of(s), rev.by_age(s)))[:surplus]:
            metadata = rs["metadata"]
            if (
                status_of(rs, "replicas")
                or rev.replicas(rs)
                or metadata.get("generation", 0) > status_of(rs, "observedGeneration")
            ):
                continue
            try:
                await self.client.delete(REPLICA_SETS, metadata["name"], metadata["namespace"])
            except StatusError as e:
                if e.code != 404:
                    raise

    async def _roll_back(self) -> None:
        """The annotation that extensions/v1beta1 rollbacks were converted to."""
        metadata = self.d["metadata"]
        annotations = dict(metadata["annotations"])
        text = annotations.pop(rev.ROLLBACK_TO)
        wanted = int(text) if text.lstrip("-").isdigit() else 0
        new, old = await self._all(create=True)
        sets = self._join(new, old)
        if wanted <= 0:
            revisions = sorted({rev.revision_of(rs) for rs in sets}, reverse=True)
            wanted = revisions[1] if len(revisions) > 1 else 0
        target = next((rs for rs in sets if rev.revision_of(rs) == wanted), None)
        spec = self.d["spec"]
        reason, message, kind = (
            "DeploymentRollbackRevisionNotFound",
            "Unable to find the revision to rollback to.",
            "Warning",
        )
        if target is not None:
            template = target["spec"]["template"]
            if rev.same_template(spec["template"], template):
                reason, message = (
                    "DeploymentRollbackTemplateUnchanged",
                    "The rollback revision contains the same template as current deployment "
                    f'"{metadata["name"]}"',
                )
            else:
                labels = {
                    k: v
                    for k, v in (template.get("metadata", {}).get("labels") or {}).items()
                    if k != rev.HASH
                }
                spec = {
                    **spec,
                    "template": {
                        **template,
                        "metadata": {**template["metadata"], "labels": labels},
                    },
                }
                reason, kind = "DeploymentRollback", "Normal"
                message = f'Rolled back deployment "{metadata["name"]}" to revision {wanted}'
        self.c.recorder.event(self._involved(), kind, reason, message)
        await self.client.update(
            DEPLOYMENTS,
            {
                **self.d,
                "metadata": {**self.d["metadata"], "annotations": annotations},
                "spec": spec,
            },
        )


def status_of(obj: Doc, field: str) -> int:
    """A number of a status, 0 if absent."""
    return int(obj.get("status", {}).get(field, 0))
