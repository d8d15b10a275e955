"""What may change on a Pod that exists: by update, ephemeralcontainers and resize.

Source: https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement
"""

from __future__ import annotations

from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._gojson import diff
from cove.kube.kinds._kind import Obj, keep, keep_metadata
from cove.kube.kinds._podspec.affinity import validate_tolerations
from cove.kube.kinds._podspec.spec import APP_ARMOR, MIRROR
from cove.kube.kinds.core._qos import qos_class

__all__ = [
    "annotation_updates",
    "ephemeral_update",
    "keep_all_but_ephemeral",
    "resize",
    "spec_update",
]

Errors = list[FieldError]

_UPDATABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def annotation_updates(errors: Errors, obj: Obj, old: Obj) -> None:
    """AppArmor's and mirror pods' annotations stay."""
    new = obj["metadata"].get("annotations") or {}
    before = old["metadata"].get("annotations") or {}
    if new == before:
        return
    at = "metadata.annotations"
    for verb, keys in (
        ("remove or update", [k for k, v in before.items() if new.get(k) != v]),
        ("add", [k for k in new if k not in before]),
    ):
        for key in sorted(keys):
            if key.startswith(APP_ARMOR):
                errors.append(fe.forbidden(f"{at}[{key}]", f"may not {verb} AppArmor annotations"))
            if key == MIRROR:
                errors.append(fe.forbidden(f"{at}[{key}]", f"may not {verb} mirror pod annotation"))


def _images(errors: Errors, path: str, new: list[Obj], old: list[Obj]) -> bool:
    if len(new) != len(old):
        errors.append(fe.forbidden(path, "pod updates may not add or remove containers"))
        return False
    for i, container in enumerate(new):
        image = container.get("image") or ""
        if not image:
            errors.append(fe.required(f"{path}[{i}].image"))
        if image.strip() != image:
            errors.append(
                fe.invalid(
                    f"{path}[{i}].image", image, "must not have leading or trailing whitespace"
                )
            )
    return True


def _deadline(errors: Errors, new: int | None, old: int | None) -> bool:
    path = "spec.activeDeadlineSeconds"
    if new is not None:
        if not 0 <= new <= 2147483647:
            errors.append(fe.invalid(path, new, names.inclusive_range_error(0, 2147483647)))
            return False
        if old is not None and old < new:
            errors.append(fe.invalid(path, new, "must be less than or equal to previous value"))
            return False
    elif old is not None:
        errors.append(
            fe.invalid(path, None, "must not update from a positive integer to nil value")
        )
    return True


def _tolerations(errors: Errors, new: list[Obj], old: list[Obj]) -> None:
    def bare(toleration: Obj) -> Obj:
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}

    kept = [bare(t) for t in new]
    if any(bare(t) not in kept for t in old):
        errors.append(
            fe.forbidden(
                "spec.tolerations",
                "existing toleration can not be modified except its tolerationSeconds",
            )
        )
        return
    validate_tolerations(errors, "spec.tolerations", new)


def _gates(errors: Errors, new: list[Obj], old: list[Obj]) -> None:
    known = {g.get("name") for g in old}
    for i, gate in enumerate(new):
        if gate.get("name") not in known:
            errors.append(
                fe.forbidden(
                    f"spec.schedulingGates[{i}].name",
                    f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
                )
            )


def _only_additions(new: Obj, old: Obj) -> bool:
    for key in ("matchExpressions", "matchFields"):
        before, after = old.get(key) or [], new.get(key) or []
        if before and after[: len(before)] != before:
            return False
    empty = not old.get("matchExpressions") and not old.get("matchFields")
    return not (empty and (new.get("matchExpressions") or new.get("matchFields")))


def _gated(errors: Errors, munged: Obj, old: Obj) -> None:
    """A pod that waits for its gates may still narrow where it runs."""
    selector, before = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if selector != before:
        if any(selector.get(k) != v for k, v in before.items()):
            errors.append(
                fe.invalid(
                    "spec.nodeSelector",
                    munged.get("nodeSelector"),
                    "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
                )
            )
        keep(munged, old, "nodeSelector")
    affinity, old_affinity = munged.get("affinity"), old.get("affinity")
    node, old_node = (affinity or {}).get("nodeAffinity"), (old_affinity or {}).get("nodeAffinity")
    if node == old_node:
        return
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    path = f"spec.affinity.nodeAffinity.{key}.nodeSelectorTerms"
    if old_node and old_node.get(key):
        terms = ((node or {}).get(key) or {}).get("nodeSelectorTerms") or []
        old_terms = old_node[key].get("nodeSelectorTerms") or []
        if old_terms and len(terms) != len(old_terms):
            errors.append(
                fe.invalid(
                    path,
                    terms or None,
                    "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
                )
            )
        else:
            for i, old_term in enumerate(old_terms):
                if not _only_additions(terms[i], old_term):
                    errors.append(
                        fe.invalid(
                            f"{path}[{i}]",
                            terms[i],
                            "only additions are allowed (no mutations or deletions)",
                        )
                    )
    if affinity is None:
        if old_node is not None:
            munged["affinity"] = {"nodeAffinity": old_node}
    elif old_affinity is None and not (affinity.keys() - {"nodeAffinity"}):
        munged.pop("affinity", None)
    else:
        munged["affinity"] = dict(affinity)
        keep(munged["affinity"], old_affinity or {}, "nodeAffinity")


def spec_update(errors: Errors, new: Obj, old: Obj) -> None:
    """An ordinary update of a Pod's spec."""
    for key in ("containers", "initContainers"):
        if not _images(errors, f"spec.{key}", new.get(key) or [], old.get(key) or []):
            return
    if not _deadline(errors, new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")):
        return
    _tolerations(errors, new.get("tolerations") or [], old.get("tolerations") or [])
    _gates(errors, new.get("schedulingGates") or [], old.get("schedulingGates") or [])
    if new == old:
        return
    munged = dict(new)
    for key in ("containers", "initContainers"):
        if new.get(key):
            munged[key] = [
                {**c, "image": o.get("image", "")} for c, o in zip(new[key], old[key], strict=True)
            ]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        keep(munged, old, key)
    if (old.get("terminationGracePeriodSeconds") or 0) < 0:
        if munged.get("terminationGracePeriodSeconds") == 1:
            keep(munged, old, "terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        _gated(errors, munged, old)
    if munged != old:
        shown = diff("core.PodSpec", old, munged)
        errors.append(
            fe.forbidden(
                "spec", f"pod updates may not change fields other than {_UPDATABLE}\n{shown}"
            )
        )


def keep_all_but_ephemeral(obj: Obj, old: Obj) -> None:
    """Put everything back but ``spec.ephemeralContainers``."""
    spec = dict(old["spec"])
    keep(spec, obj["spec"], "ephemeralContainers")
    obj["spec"] = spec
    keep_metadata(obj, old)


def ephemeral_update(errors: Errors, obj: Obj, old: Obj) -> Errors:
    """Ephemeral containers are added, never changed or taken away."""
    if MIRROR in (old["metadata"].get("annotations") or ()):
        return [fe.forbidden("", "static pods do not support ephemeral containers")]
    path = "spec.ephemeralContainers"
    now = {c.get("name"): c for c in obj["spec"].get("ephemeralContainers") or ()}
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in now:
            errors.append(
                fe.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
            )
        elif now[name] != container:
            shown = diff("core.EphemeralContainer", container, now[name])
            errors.append(
                fe.forbidden(
                    path, f'existing ephemeral containers "{name}" may not be changed\n{shown}'
                )
            )
    return errors


def _order(errors: Errors, new: Obj, old: Obj) -> bool:
    before = len(errors)
    for key in ("containers", "initContainers"):
        ours, theirs = new.get(key) or [], old.get(key) or []
        if len(ours) != len(theirs):
            errors.append(
                fe.forbidden(f"spec.{key}", f"{key} may not be added or removed on resize")
            )
            continue
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a.get("name") != b.get("name"):
                errors.append(
                    fe.forbidden(
                        f"spec.{key}[{i}].name", f"{key} may not be renamed or reordered on resize"
                    )
                )
    return len(errors) == before


def _without_compute(container: Obj, old: Obj) -> Obj:
    """The container with the old amounts of cpu and memory."""
    resources: Obj = {}
    for key in ("limits", "requests"):
        before = (old.get("resources") or {}).get(key)
        if before is None:
            continue
        amounts = {
            k: v
            for k, v in ((container.get("resources") or {}).get(key) or {}).items()
            if k not in ("cpu", "memory")
        }
        amounts.update({k: before[k] for k in ("cpu", "memory") if k in before})
        resources[key] = amounts
    claims = (old.get("resources") or {}).get("claims")
    if claims is not None and (container.get("resources") or {}).get("claims") == claims:
        resources["claims"] = claims
    return {**container, "resources": resources}


def resize(errors: Errors, obj: Obj, old: Obj) -> Errors:
    """Only cpu and memory of containers may change, and not what class the pod is in."""
    new_spec, old_spec = obj["spec"], old["spec"]

    def whole(spec: Obj) -> Any:
        resources = spec.get("resources") or {}
        return resources.get("requests") or resources.get("limits")

    if whole(new_spec) or whole(old_spec):
        return [fe.forbidden("", "pods with pod-level resources cannot be resized")]
    if MIRROR in (old["metadata"].get("annotations") or ()):
        return [fe.forbidden("", "static pods cannot be resized")]
    if (old_spec.get("os") or {}).get("name") == "windows":
        return [fe.forbidden("", "windows pods cannot be resized")]
    qos = (old.get("status") or {}).get("qosClass") or qos_class(old_spec)
    if qos != qos_class(new_spec):
        errors.append(
            fe.invalid("spec", qos, "Pod QOS Class may not change as a result of resizing")
        )
    for status in (old.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            if status.get("resources") is None:
                errors.append(
                    fe.forbidden("spec", "Pod running on node without support for resize")
                )
            break
    if not _order(errors, new_spec, old_spec):
        return errors
    munged = dict(new_spec)
    for key in ("initContainers", "containers"):
        for i, before in enumerate(old_spec.get(key) or ()):
            if key == "initContainers" and before.get("restartPolicy") != "Always":
                continue
            _removed(errors, f"spec.{key}[{i}].resources", new_spec[key][i], before)
    for key in ("containers", "initContainers"):
        if not new_spec.get(key):
            continue
        munged[key] = []
        for container, before in zip(new_spec[key], old_spec[key], strict=True):
            sidecar = container.get("restartPolicy") == "Always"
            plain = container
            if key == "containers" or sidecar:
                plain = _without_compute(container, before)
            if plain != before:
                text = "only cpu and memory resources are mutable"
                if key == "initContainers":
                    text = (
                        "only cpu and memory resources for sidecar containers are mutable"
                        if sidecar
                        else "resources for non-sidecar init containers are immutable"
                    )
                errors.append(fe.forbidden("spec", text))
            munged[key].append(plain)
    if not errors and munged != old_spec:
        errors.append(fe.forbidden("spec", "only cpu and memory resources are mutable"))
    return errors


def _removed(errors: Errors, path: str, new: Obj, old: Obj) -> None:
    for key in ("requests", "limits"):
        before = (old.get("resources") or {}).get(key) or {}
        now = (new.get("resources") or {}).get(key) or {}
        if before.keys() - now.keys():
            errors.append(fe.forbidden(f"{path}.{key}", f"resource {key} cannot be removed"))
