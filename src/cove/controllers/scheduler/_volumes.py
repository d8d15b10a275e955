"""Volumes and nodes: where a pod's claims let it go, and what has to be bound for it.

Upstream's plugins VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits.

Source: https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cove.client import Informer
from cove.controllers._volumes import (
    BIND_COMPLETED,
    NO_PROVISIONER,
    SELECTED_NODE,
    class_name,
    requested,
    smallest_match,
)
from cove.controllers.scheduler._filters import matches_terms
from cove.controllers.scheduler._nodes import NodeInfo, PodInfo

__all__ = ["ClaimsError", "Decision", "PodVolumes", "Volumes"]

Doc = dict[str, Any]

NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NO_SUCH_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
ZONE_CONFLICT = "node(s) had no available volume zone"
TOO_MANY = "node(s) exceed max volume count"
ONE_POD = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)
ZONES = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


class ClaimsError(Exception):
    """No node will do as long as the pod's claims are as they are; the text says why."""


@dataclass(slots=True)
class Decision:
    """What has to be written before the pod can be bound."""

    bindings: list[tuple[Doc, Doc]] = field(default_factory=list)
    provisions: list[Doc] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.bindings or self.provisions)


class Volumes:
    """Claims, volumes and classes as the scheduler sees them, with what it has assumed."""

    def __init__(
        self, claims: Informer, volumes: Informer, classes: Informer, csi_nodes: Informer
    ) -> None:
        self.claims = claims
        self.volumes = volumes
        self.classes = classes
        self.csi_nodes = csi_nodes
        # Volumes chosen for pods that are about to be bound: name → the claim's key.
        self.assumed: dict[str, str] = {}

    def of(self, pod: Doc, info: PodInfo) -> PodVolumes | None:
        """The state of a pod's claims, None for a pod without; raises ClaimsError."""
        if not info.claims:
            return None
        bound, delayed = [], []
        immediate = False
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("persistentVolumeClaim"):
                name = volume["persistentVolumeClaim"]["claimName"]
            elif volume.get("ephemeral"):
                name = f"{pod['metadata']['name']}-{volume['name']}"
            else:
                continue
            claim = self.claims.get(info.namespace, name)
            self._check(pod, claim, name, ephemeral=bool(volume.get("ephemeral")))
            assert claim is not None
            if claim["spec"].get("volumeName"):
                if BIND_COMPLETED in (claim["metadata"].get("annotations") or {}):
                    bound.append(claim)
                else:
                    immediate = True
            elif self._delayed(claim):
                delayed.append(claim)
            else:
                immediate = True
        if immediate:
            raise ClaimsError("pod has unbound immediate PersistentVolumeClaims")
        return PodVolumes(self, info, bound, delayed)

    @staticmethod
    def _check(pod: Doc, claim: Doc | None, name: str, *, ephemeral: bool) -> None:
        if claim is None:
            if ephemeral:
                raise ClaimsError(
                    "waiting for ephemeral volume controller to create the "
                    f'persistentvolumeclaim "{name}"'
                )
            raise ClaimsError(f'persistentvolumeclaim "{name}" not found')
        if claim.get("status", {}).get("phase") == "Lost":
            raise ClaimsError(
                f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume '
                f'"{claim["spec"].get("volumeName", "")}"'
            )
        if "deletionTimestamp" in claim["metadata"]:
            raise ClaimsError(f'persistentvolumeclaim "{name}" is being deleted')
        uid = pod["metadata"]["uid"]
        if ephemeral and not any(
            o["uid"] == uid and o.get("controller")
            for o in claim["metadata"].get("ownerReferences") or ()
        ):
            key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            raise ClaimsError(
                f"PVC {pod['metadata']['namespace']}/{name} was not created for pod {key} "
                "(pod is not owner)"
            )

    def _delayed(self, claim: Doc) -> bool:
        class_ = self.classes.get(None, class_name(claim))
        return class_ is not None and class_.get("volumeBindingMode") == "WaitForFirstConsumer"


class PodVolumes:
    """One pod's claims, looked at node by node."""

    def __init__(
        self, volumes: Volumes, pod: PodInfo, bound: list[Doc], delayed: list[Doc]
    ) -> None:
        self._all = volumes
        self._pod = pod
        self._delayed = delayed
        self._bound: list[Doc | None] = [
            volumes.volumes.get(None, c["spec"]["volumeName"]) for c in bound
        ]
        self._exclusive = frozenset(
            c["metadata"]["name"]
            for c in (*bound, *delayed)
            if "ReadWriteOncePod" in (c["spec"].get("accessModes") or ())
        )
        self._users = 0
        self._drivers = {v for v in map(_csi, self._bound) if v is not None}

    def start(self, nodes: list[NodeInfo]) -> None:
        """Count who else uses claims that are one pod's alone."""
        if self._exclusive:
            self._users = 0
            for node in nodes:
                for other in node.pods.values():
                    self.update(other, node, 1)

    def update(self, other: PodInfo, node: NodeInfo, sign: int) -> None:
        """Another pod is (1), or is not any more (-1), on a node."""
        if self._exclusive and other.namespace == self._pod.namespace:
            self._users += sign * len(self._exclusive.intersection(other.claims))

    def restricted(self) -> str:
        """Why another pod's use keeps the pod away, "" for nothing."""
        return ONE_POD if self._users else ""

    def over_limit(self, node: NodeInfo) -> str:
        """Why the node's drivers can take no more volumes, "" if they can."""
        if not self._drivers:
            return ""
        csi = self._all.csi_nodes.get(None, node.name)
        limits = {
            d["name"]: d["allocatable"]["count"]
            for d in (csi or {}).get("spec", {}).get("drivers") or ()
            if (d.get("allocatable") or {}).get("count") is not None
        }
        if not any(driver in limits for driver, _ in self._drivers):
            return ""
        there: set[tuple[str, str]] = set()
        for other in node.pods.values():
            for name in other.claims:
                claim = self._all.claims.get(other.namespace, name)
                volume = (claim or {}).get("spec", {}).get("volumeName")
                handle = _csi(self._all.volumes.get(None, volume)) if volume else None
                if handle is not None:
                    there.add(handle)
        for driver, limit in limits.items():
            new = {h for h in self._drivers - there if h[0] == driver}
            if new and len(new) + sum(1 for h in there if h[0] == driver) > limit:
                return TOO_MANY
        return ""

    def reasons(self, node: NodeInfo) -> tuple[str, ...]:
        """Why the volumes are not to be had on the node; empty if they are."""
        out = []
        if any(v is None for v in self._bound):
            out.append(NO_SUCH_VOLUME)
        elif any(not reachable(v, node) for v in self._bound if v is not None):
            out.append(NODE_CONFLICT)
        if self.decide(node) is None:
            out.append(NO_VOLUME)
        return tuple(out)

    def zone(self, node: NodeInfo) -> str:
        """Why volumes' zones keep the pod away, "" if they do not."""
        here = {k: v for k, v in node.labels.items() if k in ZONES}
        if not here:
            return ""
        for volume in self._bound:
            for key, value in ((volume or {}).get("metadata", {}).get("labels") or {}).items():
                if key in ZONES and here.get(key) not in value.split("__"):
                    return ZONE_CONFLICT
        return ""

    def decide(self, node: NodeInfo) -> Decision | None:
        """Volumes for the claims that wait for a node; None if there are not enough."""
        decision = Decision()
        taken = dict(self._all.assumed)
        waiting = []
        for claim in self._delayed:
            selected = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE)
            if not selected:
                waiting.append(claim)
            elif selected == node.name:
                decision.provisions.append(claim)
            else:
                return None
        for claim in sorted(waiting, key=requested):
            volume = smallest_match(
                claim, self._free(claim, taken), lambda volume: reachable(volume, node)
            )
            if volume is not None:
                taken[volume["metadata"]["name"]] = claim["metadata"]["uid"]
                decision.bindings.append((claim, volume))
            elif self._provisionable(claim, node):
                decision.provisions.append(claim)
            else:
                return None
        return decision

    def _free(self, claim: Doc, taken: dict[str, str]) -> list[Doc]:
        uid = claim["metadata"]["uid"]
        return [v for v in self._all.volumes if taken.get(v["metadata"]["name"], uid) == uid]

    def _provisionable(self, claim: Doc, node: NodeInfo) -> bool:
        class_ = self._all.classes.get(None, class_name(claim))
        if class_ is None or class_.get("provisioner") in ("", NO_PROVISIONER):
            return False
        topologies = class_.get("allowedTopologies")
        if not topologies:
            return True
        return any(
            all(
                node.labels.get(e["key"]) in (e.get("values") or ())
                for e in term.get("matchLabelExpressions") or ()
            )
            for term in topologies
        )


def reachable(volume: Doc, node: NodeInfo) -> bool:
    """Whether a volume's node affinity allows the node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or matches_terms(required, node)


def _csi(volume: Doc | None) -> tuple[str, str] | None:
    csi = (volume or {}).get("spec", {}).get("csi")
    return (csi["driver"], csi["volumeHandle"]) if csi else None
