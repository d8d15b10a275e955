"""PodSecurity: pods against the level their namespace's labels ask for.

Pods that do not fit are refused; what makes pods (Deployments, Jobs …) is only warned
of.  Nothing is exempt.  There is no audit log here, so that mode is judged by nobody.

Source: https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from cove.kube import status as st
from cove.kube.kinds._kind import Obj
from cove.kube.podsecurity import LevelVersion, Policy, Violation, evaluate, policy, stricter
from cove.server.admission._chain import Attributes, Plugin
from cove.server.store import Stored

__all__ = ["PodSecurity"]

# Storage key → the path to the pod template.
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
# The existing pods that a changed label is checked against at most.
MAX_PODS = 3000


class PodSecurity(Plugin):
    """Source: ``k8s.io/pod-security-admission/admission``."""

    name = "PodSecurity"
    operations = frozenset(("CREATE", "UPDATE"))
    storages = frozenset(("pods", "namespaces", *_TEMPLATES))
    # Writes to a pod's other subresources cannot change its spec.
    subresources = frozenset(("", "ephemeralcontainers", "resize"))

    def validate(self, a: Attributes) -> None:
        """Refuse pods and labels, warn of templates."""
        if a.obj is None:
            return
        storage = a.endpoint.storage
        if storage == "pods":
            _pod(a, a.obj)
        elif a.subresource:
            return
        elif storage == "namespaces":
            _namespace(a, a.obj)
        else:
            _template(a, a.obj, _TEMPLATES[storage])


@lru_cache(maxsize=256)
def _asked(namespace: Stored) -> Policy:
    """What a namespace's labels ask for; a change of it is another ``Stored``."""
    return policy(namespace.labels)[0]


def _pod(a: Attributes, pod: Obj) -> None:
    stored = a.api.store.state.get("namespaces", "", a.namespace)
    if stored is None:
        raise st.internal_error(f'failed to lookup namespace "{a.namespace}"')
    asked = _asked(stored)
    if asked.privileged:
        return
    spec = pod["spec"]
    if a.old is not None and not _images_changed(spec, a.old["spec"]):
        return
    meta = pod["metadata"]
    found = evaluate(asked.enforce, meta, spec)
    if found:
        raise a.forbidden(f'violates PodSecurity "{asked.enforce}": {_told(found)}')
    if asked.warn != asked.enforce:
        _warn(a, asked.warn, meta, spec)


def _template(a: Attributes, obj: Obj, path: tuple[str, ...]) -> None:
    stored = a.api.store.state.get("namespaces", "", a.namespace)
    if stored is None:
        return
    asked = _asked(stored)
    if asked.warn.level == "privileged":
        return
    template: Any = obj
    for key in path:
        template = (template or {}).get(key)
    if template is not None:
        _warn(a, asked.warn, template.get("metadata") or {}, template.get("spec") or {})


def _warn(a: Attributes, level: LevelVersion, meta: Obj, spec: Obj) -> None:
    if found := evaluate(level, meta, spec):
        a.request.warn(f'would violate PodSecurity "{level}": {_told(found)}')


def _told(found: list[Violation]) -> str:
    return ", ".join(map(str, found))


def _images_changed(spec: Obj, old: Obj) -> bool:
    """Whether an update touches what a pod may change and a level may forbid."""
    for key in ("containers", "initContainers"):
        new, before = spec.get(key) or (), old.get(key) or ()
        if len(new) != len(before):
            return True
        if any(n.get("image") != b.get("image") for n, b in zip(new, before, strict=True)):
            return True
    known = {c.get("name"): c for c in old.get("ephemeralContainers") or ()}
    for container in spec.get("ephemeralContainers") or ():
        before = known.get(container.get("name"))
        if before is None or before.get("image") != container.get("image"):
            return True
    return False


def _namespace(a: Attributes, namespace: Obj) -> None:
    asked, errors = policy(namespace["metadata"].get("labels"))
    name = a.shown_name()
    if a.old is None:
        if errors:
            raise st.invalid("Namespace", "", name, errors)
        return
    before, old_errors = policy(a.old["metadata"].get("labels"))
    if errors and errors != old_errors:
        raise st.invalid("Namespace", "", name, errors)
    new, old = asked.enforce, before.enforce
    if new == old or new.level == "privileged":
        return
    if new.version == old.version and not stricter(new.level, old.level):
        return
    for text in _existing(a, name, new):
        a.request.warn(text)


def _existing(a: Attributes, namespace: str, level: LevelVersion) -> list[str]:
    """Warnings about the pods that a namespace has: one line for each set of reasons."""
    pods = _one_of_each_controller(
        [orjson.loads(s.data) for s in a.api.store.state.list("pods", namespace)]
    )
    total = len(pods)
    found: dict[str, list[str]] = {}
    for pod in pods[:MAX_PODS]:
        violations = evaluate(level, pod["metadata"], pod["spec"])
        if violations:
            reasons = ", ".join(v.reason for v in violations)
            found.setdefault(reasons, []).append(pod["metadata"]["name"])
    warnings = []
    if total > MAX_PODS:
        warnings.append(
            f"new PodSecurity enforce level only checked against the first {MAX_PODS} of "
            f"{total} existing pods"
        )
    if found:
        warnings.append(
            f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
            f'level "{level}"'
        )
    return warnings + sorted(_line(names, reasons) for reasons, names in found.items())


def _line(names: list[str], reasons: str) -> str:
    others = len(names) - 1
    if others:
        return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''}): {reasons}"
    return f"{names[0]}: {reasons}"


def _one_of_each_controller(pods: list[Obj]) -> list[Obj]:
    """The same pods, further ones of a controller already seen at the end."""
    first, more = [], []
    seen: set[str] = set()
    for pod in pods:
        owners = pod["metadata"].get("ownerReferences") or ()
        uid = next((o["uid"] for o in owners if o.get("controller")), None)
        if uid in seen:
            more.append(pod)
            continue
        first.append(pod)
        if uid is not None:
            seen.add(uid)
    return first + more
