"""Checks of the user a container runs as."""

from __future__ import annotations

from cove.kube.podsecurity._violation import Obj, Violation, containers, context, named, setters

__all__ = ["run_as_non_root", "run_as_user"]


def run_as_non_root(_meta: Obj, spec: Obj) -> Violation | None:
    """Every container says that it does not run as root, itself or through the pod."""
    pod = context(spec).get("runAsNonRoot")
    denying, silent = [], []
    for container in containers(spec):
        given = context(container).get("runAsNonRoot")
        if given is False:
            denying.append(container.get("name", ""))
        elif given is None and not pod:
            silent.append(container.get("name", ""))
    reason = "runAsNonRoot != true"
    if who := setters(pod is False, denying):
        return Violation(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    if silent:
        return Violation(
            reason, f"pod or {named(silent)} must set securityContext.runAsNonRoot=true"
        )
    return None


def run_as_user(_meta: Obj, spec: Obj) -> Violation | None:
    """Nobody asks for user 0."""
    bad = [c.get("name", "") for c in containers(spec) if context(c).get("runAsUser") == 0]
    who = setters(context(spec).get("runAsUser") == 0, bad)
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0") if who else None
