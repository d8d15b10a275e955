"""Checks of Linux capabilities and privilege escalation."""

from __future__ import annotations

from cove.kube.podsecurity._violation import Obj, Violation, containers, context, named, quoted

__all__ = ["allow_privilege_escalation", "capabilities_baseline", "capabilities_restricted"]

_DEFAULT = frozenset(
    (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
)
_RESTRICTED = frozenset(("NET_BIND_SERVICE",))


def _adding(spec: Obj, allowed: frozenset[str]) -> str:
    """Who adds capabilities that are not allowed; "" if nobody does."""
    bad: list[str] = []
    added: set[str] = set()
    for container in containers(spec):
        given = (context(container).get("capabilities") or {}).get("add") or ()
        wrong = [c for c in given if c not in allowed]
        if wrong:
            bad.append(container.get("name", ""))
            added.update(wrong)
    if not bad:
        return ""
    return (
        f"{named(bad)} must not include {quoted(sorted(added))} in securityContext.capabilities.add"
    )


def capabilities_baseline(_meta: Obj, spec: Obj) -> Violation | None:
    """Only capabilities that runtimes give anyway are added."""
    adding = _adding(spec, _DEFAULT)
    return Violation("non-default capabilities", adding) if adding else None


def capabilities_restricted(_meta: Obj, spec: Obj) -> Violation | None:
    """Every capability is dropped, and only NET_BIND_SERVICE added."""
    keeping = [
        c.get("name", "")
        for c in containers(spec)
        if "ALL" not in ((context(c).get("capabilities") or {}).get("drop") or ())
    ]
    details = []
    if keeping:
        details.append(f'{named(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding := _adding(spec, _RESTRICTED):
        details.append(adding)
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def allow_privilege_escalation(_meta: Obj, spec: Obj) -> Violation | None:
    """Every container says that it does not escalate: silence means it may."""
    bad = [
        c.get("name", "")
        for c in containers(spec)
        if context(c).get("allowPrivilegeEscalation") is not False
    ]
    if not bad:
        return None
    return Violation(
        "allowPrivilegeEscalation != false",
        f"{named(bad)} must set securityContext.allowPrivilegeEscalation=false",
    )
