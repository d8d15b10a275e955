"""The checks of the Pod Security Standards, and what labels ask for."""

from __future__ import annotations

from typing import Any

import pytest

from cove.kube.podsecurity import LevelVersion, Policy, evaluate, policy

FINE: dict[str, Any] = {
    "name": "c",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def told(level: str, spec: dict[str, Any], version: int | None = None, **meta: Any) -> list[str]:
    return [str(v) for v in evaluate(LevelVersion(level, version), meta, spec)]


def test_nothing_is_forbidden_to_the_privileged() -> None:
    assert told("privileged", {"hostPID": True, "containers": [{"name": "c"}]}) == []


def test_a_restricted_pod_passes() -> None:
    assert told("restricted", {"containers": [FINE]}) == []


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"containers": [{"name": "a", "ports": [{"hostPort": 9}, {"hostPort": 80}]}]},
            'hostPort (container "a" uses hostPorts 80, 9)',
        ),
        (
            {"volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]},
            'hostPath volumes (volumes "v", "w")',
        ),
        (
            {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]},
            'probe or lifecycle host (container "a" uses probe or lifecycle host "h")',
        ),
        (
            {
                "securityContext": {"seLinuxOptions": {"type": "t", "role": "r"}},
                "containers": [{"name": "a", "securityContext": {"seLinuxOptions": {"user": "u"}}}],
            },
            'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: '
            'type "t"; user may not be set; role may not be set)',
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
            'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
        ),
        (
            {"securityContext": {"sysctls": [{"name": "a"}, {"name": "net.ipv4.tcp_rmem"}]}},
            "forbidden sysctls (a)",
        ),
        (
            {"ephemeralContainers": [{"name": "e", "securityContext": {"privileged": True}}]},
            'privileged (container "e" must not set securityContext.privileged=true)',
        ),
    ],
    ids=["ports", "paths", "probes", "selinux", "apparmor", "sysctls", "ephemeral"],
)
def test_baseline(spec: dict[str, Any], text: str) -> None:
    assert told("baseline", spec) == [text]


@pytest.mark.parametrize(
    ("level", "spec", "version", "reasons"),
    [
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}, 31, 1),
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}, 32, 0),
        ("baseline", {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, 18, 0),
        ("baseline", {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, 19, 1),
        ("restricted", {"os": {"name": "windows"}, "containers": [{"name": "c"}]}, 24, 4),
        ("restricted", {"os": {"name": "windows"}, "containers": [{"name": "c"}]}, 25, 1),
        ("restricted", {"containers": [{"name": "c"}]}, 7, 1),
        ("restricted", {"hostUsers": False, "containers": [{"name": "c"}]}, 34, 4),
        ("restricted", {"hostUsers": False, "containers": [{"name": "c"}]}, 99, 3),
    ],
)
def test_versions(level: str, spec: dict[str, Any], version: int, reasons: int) -> None:
    assert len(told(level, spec, version)) == reasons


def test_a_restricted_check_replaces_the_baseline_one() -> None:
    spec = {
        "containers": [FINE],
        "volumes": [{"name": "v", "hostPath": {}}, {"name": "n", "nfs": {}}],
    }
    assert told("restricted", spec) == [
        'restricted volume types (volumes "v", "n" use restricted volume types "hostPath", "nfs")'
    ]


def test_old_annotations_are_judged_at_old_versions() -> None:
    annotations = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    assert told("baseline", {}, 5, annotations=annotations) == [
        "seccompProfile (forbidden annotation "
        'seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    ]


P = "pod-security.kubernetes.io/"
BASELINE, LATEST = LevelVersion("baseline", 30), LevelVersion("privileged", None)


@pytest.mark.parametrize(
    ("labels", "expected", "errors"),
    [
        ({}, Policy(), 0),
        (
            {P + "enforce": "baseline", P + "enforce-version": "v1.30"},
            Policy(BASELINE, LATEST, BASELINE),
            0,
        ),
        (
            {P + "enforce": "baseline", P + "warn": "privileged"},
            Policy(LevelVersion("baseline", None), LATEST, LATEST),
            0,
        ),
        ({P + "enforce": "x"}, Policy(LevelVersion("restricted", None), LATEST, LATEST), 1),
        ({P + "audit": "x", P + "warn-version": "1.2"}, Policy(), 2),
    ],
    ids=["none", "warned too", "not warned", "wrong level", "wrong others"],
)
def test_labels(labels: dict[str, str], expected: Policy, errors: int) -> None:
    found, wrong = policy(labels)
    assert (found, len(wrong)) == (expected, errors)
