"""Checks of what a pod takes from its host: namespaces, paths, ports, processes."""

from __future__ import annotations

from cove.kube.podsecurity._violation import (
    Obj,
    Violation,
    containers,
    context,
    many,
    named,
    quoted,
    setters,
)

__all__ = [
    "host_namespaces",
    "host_path_volumes",
    "host_ports",
    "host_probes",
    "privileged",
    "windows_host_process",
]


def host_namespaces(_meta: Obj, spec: Obj) -> Violation | None:
    """The host's network, process and IPC namespaces are not shared."""
    shared = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def host_path_volumes(_meta: Obj, spec: Obj) -> Violation | None:
    """No hostPath volumes."""
    bad = [v.get("name", "") for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    if not bad:
        return None
    return Violation("hostPath volumes", f"{many('volume', 'volumes', len(bad))} {quoted(bad)}")


def host_ports(_meta: Obj, spec: Obj) -> Violation | None:
    """No host ports."""
    bad: list[str] = []
    ports: set[str] = set()
    for container in containers(spec):
        used = [str(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")]
        if used:
            bad.append(container.get("name", ""))
            ports.update(used)
    if not bad:
        return None
    uses = many("uses", "use", len(bad))
    noun = many("hostPort", "hostPorts", len(ports))
    return Violation("hostPort", f"{named(bad)} {uses} {noun} {', '.join(sorted(ports))}")


def host_probes(_meta: Obj, spec: Obj) -> Violation | None:
    """Probes and lifecycle handlers ask the pod itself, not another host."""
    bad: set[str] = set()
    hosts: set[str] = set()
    for container in containers(spec):
        lifecycle = container.get("lifecycle") or {}
        for handler in (
            container.get("livenessProbe"),
            container.get("readinessProbe"),
            container.get("startupProbe"),
            lifecycle.get("postStart"),
            lifecycle.get("preStop"),
        ):
            for action in ("httpGet", "tcpSocket"):
                host = ((handler or {}).get(action) or {}).get("host")
                if host:
                    bad.add(container.get("name", ""))
                    hosts.add(host)
    if not bad:
        return None
    uses = many("uses", "use", len(bad))
    noun = many("probe or lifecycle host", "probe or lifecycle hosts", len(hosts))
    return Violation(
        "probe or lifecycle host", f"{named(sorted(bad))} {uses} {noun} {quoted(sorted(hosts))}"
    )


def privileged(_meta: Obj, spec: Obj) -> Violation | None:
    """No privileged containers."""
    bad = [c.get("name", "") for c in containers(spec) if context(c).get("privileged")]
    if not bad:
        return None
    return Violation("privileged", f"{named(bad)} must not set securityContext.privileged=true")


def windows_host_process(_meta: Obj, spec: Obj) -> Violation | None:
    """No HostProcess containers of Windows."""

    def sets(holder: Obj) -> bool:
        return bool((context(holder).get("windowsOptions") or {}).get("hostProcess"))

    who = setters(sets(spec), [c.get("name", "") for c in containers(spec) if sets(c)])
    if not who:
        return None
    return Violation(
        "hostProcess", f"{who} must not set securityContext.windowsOptions.hostProcess=true"
    )
