"""Which ReplicaSet is a Deployment's newest, and which revisions they carry.

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/controller/deployment/util
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "HASH",
    "REVISION",
    "active",
    "find_new",
    "max_revision",
    "max_surge",
    "max_unavailable",
    "new_replicas",
    "olds",
    "replicas",
    "revision_of",
    "saturated",
    "set_annotations",
    "set_replicas_annotations",
    "spec_sum",
    "status_sum",
]

Doc = dict[str, Any]

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
_NOT_COPIED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
        ROLLBACK_TO,
    )
)
# A list of revisions longer than this loses its oldest.
HISTORY_LENGTH = 2000


def replicas(obj: Doc) -> int:
    """What the spec asks for."""
    return int(obj["spec"].get("replicas", 1))


def spec_sum(sets: Iterable[Doc]) -> int:
    """Pods that sets ask for, together."""
    return sum(replicas(rs) for rs in sets)


def status_sum(sets: Iterable[Doc], field: str) -> int:
    """A field of the sets' statuses, summed."""
    return sum(rs.get("status", {}).get(field, 0) for rs in sets)


def active(sets: Iterable[Doc]) -> list[Doc]:
    """Those that ask for pods."""
    return [rs for rs in sets if replicas(rs) > 0]


def by_age(rs: Doc) -> tuple[str, str]:
    """Sort key: the oldest first."""
    return (rs["metadata"].get("creationTimestamp") or "", rs["metadata"]["name"])


def _without_hash(template: Doc) -> Doc:
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH}
    rest = {k: v for k, v in metadata.items() if k not in ("labels", "creationTimestamp") and v}
    return {"metadata": {**rest, "labels": labels}, "spec": template.get("spec")}


def same_template(a: Doc, b: Doc) -> bool:
    """Whether two templates differ in their hash label at most."""
    return _without_hash(a) == _without_hash(b)


def find_new(deployment: Doc, sets: Iterable[Doc]) -> Doc | None:
    """The oldest set that has the Deployment's template."""
    wanted = _without_hash(deployment["spec"]["template"])
    for rs in sorted(sets, key=by_age):
        if _without_hash(rs["spec"]["template"]) == wanted:
            return rs
    return None


def olds(new: Doc | None, sets: Iterable[Doc]) -> list[Doc]:
    """All but the new one."""
    uid = None if new is None else new["metadata"]["uid"]
    return [rs for rs in sets if rs["metadata"]["uid"] != uid]


def revision_of(obj: Doc) -> int:
    """The revision annotation, 0 if it is not a number."""
    try:
        return int(obj["metadata"].get("annotations", {}).get(REVISION, 0))
    except ValueError:
        return 0


def max_revision(sets: Iterable[Doc]) -> int:
    """The highest revision."""
    return max((revision_of(rs) for rs in sets), default=0)


def _resolve(value: Any, total: int, *, up: bool) -> int:
    if isinstance(value, str):
        percent = int(value.rstrip("%"))
        return -(-percent * total // 100) if up else percent * total // 100
    return int(value or 0)


def _fence_posts(deployment: Doc) -> tuple[int, int]:
    """(surge, unavailable) as numbers of pods; not both can be zero."""
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate") or {}
    total = replicas(deployment)
    surge = _resolve(rolling.get("maxSurge", 0), total, up=True)
    unavailable = _resolve(rolling.get("maxUnavailable", 0), total, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def is_rolling(deployment: Doc) -> bool:
    """Whether its strategy is RollingUpdate."""
    return bool(deployment["spec"].get("strategy", {}).get("type") == "RollingUpdate")


def max_surge(deployment: Doc) -> int:
    """Pods above the wanted number during an update."""
    return _fence_posts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Doc) -> int:
    """Pods below the wanted number during an update."""
    total = replicas(deployment)
    if not is_rolling(deployment) or total == 0:
        return 0
    return min(_fence_posts(deployment)[1], total)


def saturated(deployment: Doc, rs: Doc | None) -> bool:
    """Whether the set alone is what the Deployment wants."""
    if rs is None:
        return False
    desired = rs["metadata"].get("annotations", {}).get(DESIRED)
    if desired is None or not desired.isdigit():
        return False
    wanted = replicas(deployment)
    return (
        replicas(rs) == wanted
        and int(desired) == wanted
        and rs.get("status", {}).get("availableReplicas", 0) == wanted
    )


def new_replicas(deployment: Doc, sets: Iterable[Doc], new: Doc) -> int:
    """How large the new set may be now."""
    wanted = replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    current = spec_sum(sets)
    limit = wanted + max_surge(deployment)
    if current >= limit:
        return replicas(new)
    return replicas(new) + min(limit - current, wanted - replicas(new))


def set_annotations(deployment: Doc, annotations: dict[str, str], revision: int) -> bool:
    """Bring a set's annotations up to a revision; whether anything changed."""
    changed = False
    for key, value in deployment["metadata"].get("annotations", {}).items():
        if key not in _NOT_COPIED and annotations.get(key) != value:
            annotations[key] = value
            changed = True
    text = annotations.get(REVISION)
    old = int(text) if text and text.lstrip("-").isdigit() else 0
    if old >= revision:
        return changed
    annotations[REVISION] = str(revision)
    if text is not None:
        history = [r for r in annotations.get(HISTORY, "").split(",") if r]
        history.append(text)
        while len(",".join(history)) > HISTORY_LENGTH and len(history) > 1:
            history.pop(0)
        annotations[HISTORY] = ",".join(history)
    return True


def set_replicas_annotations(annotations: dict[str, str], desired: int, most: int) -> bool:
    """Note what the Deployment wanted when it last sized this set; whether that is new."""
    wanted = {DESIRED: str(desired), MAX: str(most)}
    if all(annotations.get(k) == v for k, v in wanted.items()):
        return False
    annotations.update(wanted)
    return True
