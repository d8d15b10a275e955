"""What of an engine stands in k3s' way is told, and what can be done."""

from __future__ import annotations

from typing import Any

import pytest

from cove.engines.k3s.machine import advice, obstacles

TAG = "rancher/k3s:v1.36.0-k3s1"


@pytest.mark.parametrize(
    ("info", "kind", "tag", "said"),
    [
        ({"SecurityOptions": ["name=rootless"], "CgroupVersion": "2"}, "docker", TAG, "rootless"),
        ({"SecurityOptions": ["name=rootless"]}, "podman", TAG, "is root's Podman"),
        ({"CgroupVersion": "1"}, "docker", TAG, "fail-cgroup-v1=false"),
        ({"CgroupVersion": "1"}, "docker", "own.test/k3s", "fail-cgroup-v1=false"),
        ({"OSType": "windows"}, "docker", TAG, "k3s needs those of Linux"),
    ],
)
def test_an_obstacle_is_told(info: dict[str, Any], kind: str, tag: str, said: str) -> None:
    [sentence] = obstacles(info, kind, tag)

    assert said in sentence


@pytest.mark.parametrize(
    ("info", "tag", "extra"),
    [
        ({"CgroupVersion": "2", "OSType": "linux", "SecurityOptions": ["name=seccomp"]}, TAG, ()),
        ({"CgroupVersion": "1"}, "rancher/k3s:v1.34.1-k3s1", ()),
        ({"CgroupVersion": "1"}, TAG, ("--kubelet-arg=fail-cgroup-v1=false",)),
        ({}, TAG, ()),
    ],
)
def test_what_is_no_obstacle_is_not_told(
    info: dict[str, Any], tag: str, extra: tuple[str, ...]
) -> None:
    assert obstacles(info, "docker", tag, extra) == []


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("OCI runtime create failed: operation not permitted: unknown", "privileged container"),
        ("write /var/lib/docker/x: no space left on device", "disk is full"),
        ("cgroup: cannot enter", "control groups"),
        ("something else", ""),
    ],
)
def test_a_refusal_of_the_engine_has_advice(why: str, said: str) -> None:
    assert said in advice(why)
    assert bool(said) == bool(advice(why))
