"""The standards: which checks make up a level at a version, in the order they are told.

A check may have several forms, each from a minor version on; a restricted check may take
the place of a weaker baseline one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cove.kube.podsecurity._capabilities import (
    allow_privilege_escalation,
    capabilities_baseline,
    capabilities_restricted,
)
from cove.kube.podsecurity._host import (
    host_namespaces,
    host_path_volumes,
    host_ports,
    host_probes,
    privileged,
    windows_host_process,
)
from cove.kube.podsecurity._levels import LevelVersion
from cove.kube.podsecurity._profiles import (
    app_armor_profile,
    proc_mount,
    se_linux_options,
    seccomp_annotations,
    seccomp_baseline,
    seccomp_restricted,
    sysctls,
)
from cove.kube.podsecurity._users import run_as_non_root, run_as_user
from cove.kube.podsecurity._violation import Check, Obj, Violation
from cove.kube.podsecurity._volumes import restricted_volumes

__all__ = ["evaluate"]


def _unless_windows(check: Check) -> Check:
    """Pods of Windows cannot set the field at all."""

    def checked(meta: Obj, spec: Obj) -> Violation | None:
        if (spec.get("os") or {}).get("name") == "windows":
            return None
        return check(meta, spec)

    return checked


def _unless_user_namespace(check: Check) -> Check:
    """Root in a user namespace is nobody on the host (KEP-127)."""

    def checked(meta: Obj, spec: Obj) -> Violation | None:
        return None if spec.get("hostUsers") is False else check(meta, spec)

    return checked


class _Standard(NamedTuple):
    """One check: its forms by the minor version each begins with."""

    name: str
    forms: tuple[tuple[int, Check], ...]
    replaces: str = ""


_SELINUX = ("container_t", "container_init_t", "container_kvm_t")
_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    )
)
_SYSCTLS_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}

# Both in the order of upstream's names of the checks, which is that of messages.
_BASELINE = (
    _Standard("appArmorProfile", ((0, app_armor_profile),)),
    _Standard("capabilities_baseline", ((0, capabilities_baseline),)),
    _Standard("hostNamespaces", ((0, host_namespaces),)),
    _Standard("hostPathVolumes", ((0, host_path_volumes),)),
    _Standard("hostPorts", ((0, host_ports),)),
    _Standard("hostProbesAndHostLifecycle", ((34, host_probes),)),
    _Standard("privileged", ((0, privileged),)),
    _Standard("procMount", ((0, proc_mount), (35, _unless_user_namespace(proc_mount)))),
    _Standard(
        "seLinuxOptions",
        ((0, se_linux_options(*_SELINUX)), (31, se_linux_options(*_SELINUX, "container_engine_t"))),
    ),
    _Standard("seccompProfile_baseline", ((0, seccomp_annotations), (19, seccomp_baseline))),
    _Standard(
        "sysctls",
        (
            (0, sysctls(_SYSCTLS)),
            (27, sysctls(_SYSCTLS_27)),
            (29, sysctls(_SYSCTLS_29)),
            (32, sysctls(_SYSCTLS_32)),
        ),
    ),
    _Standard("windowsHostProcess", ((0, windows_host_process),)),
)
_RESTRICTED = (
    _Standard(
        "allowPrivilegeEscalation",
        (
            (8, allow_privilege_escalation),
            (25, _unless_windows(allow_privilege_escalation)),
        ),
    ),
    _Standard(
        "capabilities_restricted",
        ((22, capabilities_restricted), (25, _unless_windows(capabilities_restricted))),
        replaces="capabilities_baseline",
    ),
    _Standard("procMount_restricted", ((35, proc_mount),), replaces="procMount"),
    _Standard("restrictedVolumes", ((0, restricted_volumes),), replaces="hostPathVolumes"),
    _Standard(
        "runAsNonRoot",
        ((0, run_as_non_root), (35, _unless_user_namespace(run_as_non_root))),
    ),
    _Standard("runAsUser", ((23, run_as_user), (35, _unless_user_namespace(run_as_user)))),
    _Standard(
        "seccompProfile_restricted",
        ((19, seccomp_restricted), (25, _unless_windows(seccomp_restricted))),
        replaces="seccompProfile_baseline",
    ),
)
_NEWEST = 1 << 30


def _form(standard: _Standard, minor: int) -> Check | None:
    found = None
    for since, check in standard.forms:
        if since <= minor:
            found = check
    return found


@lru_cache(maxsize=64)
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    if level == "privileged":
        return ()
    restricted = [(s, f) for s in _RESTRICTED if (f := _form(s, minor)) is not None]
    if level == "baseline":
        restricted = []
    replaced = {s.replaces for s, _ in restricted}
    baseline = [
        f for s in _BASELINE if s.name not in replaced and (f := _form(s, minor)) is not None
    ]
    return (*baseline, *(f for _, f in restricted))


def evaluate(policy: LevelVersion, meta: Obj, spec: Obj) -> list[Violation]:
    """What of a pod (or of a pod template) a level forbids; empty: nothing."""
    minor = _NEWEST if policy.version is None else policy.version
    checks = _checks(policy.level, minor)
    return [found for check in checks if (found := check(meta, spec)) is not None]
