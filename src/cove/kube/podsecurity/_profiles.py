"""Checks of kernel profiles: AppArmor, seccomp, SELinux, sysctls, /proc."""

from __future__ import annotations

from cove.kube.podsecurity._violation import (
    Check,
    Obj,
    Violation,
    containers,
    context,
    many,
    named,
    quoted,
    quoted_value,
    setters,
)

__all__ = [
    "app_armor_profile",
    "proc_mount",
    "se_linux_options",
    "seccomp_annotations",
    "seccomp_baseline",
    "seccomp_restricted",
    "sysctls",
]

_PROFILES = ("RuntimeDefault", "Localhost")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def _wrong_profiles(spec: Obj, key: str) -> tuple[bool, list[str], set[str]]:
    """Who sets a profile of a type that is not allowed: the pod?, containers; the types."""
    types: set[str] = set()

    def wrong(holder: Obj) -> bool:
        profile = context(holder).get(key)
        if profile is None or profile.get("type", "") in _PROFILES:
            return False
        types.add(profile.get("type", ""))
        return True

    return wrong(spec), [c.get("name", "") for c in containers(spec) if wrong(c)], types


def app_armor_profile(meta: Obj, spec: Obj) -> Violation | None:
    """The default profile is not switched off, by field or by annotation."""
    pod, bad, types = _wrong_profiles(spec, "appArmorProfile")
    annotations = sorted(
        quoted_value(key, value)
        for key, value in (meta.get("annotations") or {}).items()
        if key.startswith(_APPARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    values = sorted(types) + annotations
    others = [many("annotation", "annotations", len(annotations))] if annotations else []
    who = setters(pod, bad, *others)
    if not who:
        return None
    return Violation(
        many("forbidden AppArmor profile", "forbidden AppArmor profiles", len(values)),
        f"{who} must not set AppArmor profile type to {quoted(values)}",
    )


def seccomp_annotations(meta: Obj, spec: Obj) -> Violation | None:
    """seccomp is not switched off by annotation, the form of before 1.19."""
    annotations = meta.get("annotations") or {}
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + c.get("name", "") for c in containers(spec))]
    bad = {
        quoted_value(key, annotations[key])
        for key in keys
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    }
    if not bad:
        return None
    noun = many("annotation", "annotations", len(bad))
    return Violation("seccompProfile", f"forbidden {noun} {', '.join(sorted(bad))}")


def seccomp_baseline(_meta: Obj, spec: Obj) -> Violation | None:
    """seccomp is not switched off."""
    pod, bad, types = _wrong_profiles(spec, "seccompProfile")
    who = setters(pod, bad)
    if not who:
        return None
    return Violation(
        "seccompProfile",
        f"{who} must not set securityContext.seccompProfile.type to {quoted(sorted(types))}",
    )


def seccomp_restricted(meta: Obj, spec: Obj) -> Violation | None:
    """Every container has a seccomp profile, its own or the pod's."""
    found = seccomp_baseline(meta, spec)
    if found is not None or context(spec).get("seccompProfile") is not None:
        return found
    bad = [c.get("name", "") for c in containers(spec) if context(c).get("seccompProfile") is None]
    if not bad:
        return None
    return Violation(
        "seccompProfile",
        f"pod or {named(bad)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost"',
    )


def se_linux_options(*allowed: str) -> Check:
    """SELinux types are of those allowed; user and role are not set."""
    types = frozenset(("", *allowed))

    def check(_meta: Obj, spec: Obj) -> Violation | None:
        bad_types: set[str] = set()
        fields: set[str] = set()

        def wrong(holder: Obj) -> bool:
            options = context(holder).get("seLinuxOptions") or {}
            found = {key for key in ("user", "role") if options.get(key)}
            fields.update(found)
            given = options.get("type", "")
            if given not in types:
                bad_types.add(given)
                return True
            return bool(found)

        who = setters(wrong(spec), [c.get("name", "") for c in containers(spec) if wrong(c)])
        if not who:
            return None
        data = []
        if bad_types:
            data.append(f"{many('type', 'types', len(bad_types))} {quoted(sorted(bad_types))}")
        data += [f"{key} may not be set" for key in ("user", "role") if key in fields]
        return Violation(
            "seLinuxOptions",
            f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}",
        )

    return check


def sysctls(allowed: frozenset[str]) -> Check:
    """Sysctls are of the safe ones."""

    def check(_meta: Obj, spec: Obj) -> Violation | None:
        given = context(spec).get("sysctls") or ()
        bad = [s.get("name", "") for s in given if s.get("name", "") not in allowed]
        return Violation("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def proc_mount(_meta: Obj, spec: Obj) -> Violation | None:
    """/proc is mounted with its masks."""
    bad: list[str] = []
    types: set[str] = set()
    for container in containers(spec):
        given = context(container).get("procMount")
        if given is not None and given != "Default":
            bad.append(container.get("name", ""))
            types.add(given)
    if not bad:
        return None
    return Violation(
        "procMount",
        f"{named(bad)} must not set securityContext.procMount to {quoted(sorted(types))}",
    )
