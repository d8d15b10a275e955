"""What an engine is told of a pod; the program that its sandbox runs."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from cove.node.docker import pause
from cove.node.docker import spec as specs
from cove.node.pods.env import ConfigError
from cove.node.pods.volumes import HostVolume

Doc = dict[str, Any]
POD: Doc = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def config(container: Doc, **spec: Any) -> Doc:
    pod = {**POD, "spec": {"containers": [container], **spec}}
    return specs.container_config(
        pod,
        container,
        image="i",
        labels={},
        sandbox="s",
        env={"A": "1"},
        binds=(),
        tmpfs={},
        guaranteed=0,
    )


def test_commands_and_arguments_take_the_place_of_the_images() -> None:
    made = config({"name": "c", "command": ["run", "$(A)"], "args": ["$$(A)", "$(B)"]})
    assert made["Entrypoint"] == ["run", "1"]
    assert made["Cmd"] == ["$(A)", "$(B)"]
    assert "Entrypoint" not in config({"name": "c"})


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {"CpuShares": 2}),
        ({"requests": {"cpu": "500m"}}, {"CpuShares": 512}),
        ({"limits": {"cpu": "2"}}, {"CpuShares": 2048, "CpuQuota": 200_000}),
        ({"limits": {"memory": "1Gi"}}, {"Memory": 1 << 30, "MemorySwap": 1 << 30}),
    ],
)
def test_resources(resources: Doc, expected: Doc) -> None:
    host = config({"name": "c", "resources": resources})["HostConfig"]
    assert {key: host.get(key) for key in expected} == expected


def test_security() -> None:
    own = {"runAsUser": 5, "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}}
    made = config(
        {"name": "c", "securityContext": own},
        securityContext={"runAsUser": 1, "runAsGroup": 7, "fsGroup": 9, "supplementalGroups": [8]},
    )
    assert made["User"] == "5:7"
    host = made["HostConfig"]
    assert (host["GroupAdd"], host["CapAdd"], host["CapDrop"]) == (
        ["8", "9"],
        ["NET_ADMIN"],
        ["ALL"],
    )


def test_ports_of_the_host_are_on_loopback_unless_somebody_says_otherwise() -> None:
    ports = [
        {"containerPort": 80, "hostPort": 8080},
        {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "0.0.0.0"},
    ]
    pod = {**POD, "spec": {"containers": [{"name": "c", "ports": ports}]}}
    made = specs.sandbox_config(pod, {}, "net", "10.0.0.2", "127.0.0.1")
    assert made["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "5353"}],
    }


def test_a_pod_in_the_hosts_network_has_no_address_of_its_own() -> None:
    pod = {**POD, "spec": {"containers": [{"name": "c"}], "hostNetwork": True}}
    made = specs.sandbox_config(pod, {}, "net", "10.0.0.2", "127.0.0.1")
    assert made["HostConfig"]["NetworkMode"] == "host"
    assert "NetworkingConfig" not in made


def test_mounts_stay_in_their_volumes() -> None:
    volumes = {"v": HostVolume("/data"), "r": HostVolume("/config", read_only=True)}

    def of(**mount: Any) -> list[specs.Mount]:
        return specs.mounts(
            {"name": "c", "volumeMounts": [{"mountPath": "/m", **mount}]}, volumes, {"A": "x"}
        )

    assert of(name="v") == [specs.Mount("/data", "/m")]
    assert of(name="v", subPath="a/b")[0].source == "/data/a/b"
    assert of(name="v", subPathExpr="$(A)/y")[0].source == "/data/x/y"
    assert of(name="r")[0].read_only
    assert of(name="v", mountPropagation="Bidirectional")[0].propagation == "rshared"
    with pytest.raises(ConfigError, match=r"subPath \.\./etc leads out"):
        of(name="v", subPath="../etc")
    with pytest.raises(ConfigError, match="names an unknown variable"):
        of(name="v", subPathExpr="$(NONE)")
    with pytest.raises(ConfigError, match='volume "w" of container c is not there'):
        of(name="w")


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_pause_program_is_an_executable(architecture: str, machine: int) -> None:
    data = pause.program(architecture)
    assert data[:4] == b"\x7fELF"
    _, kind, found, _, entry, headers = struct.unpack_from("<16sHHIQQ", data)
    assert (kind, found, headers) == (2, machine, 64)
    _, _, offset, address, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", data, 64)
    assert (offset, size) == (0, len(data))
    # It begins right after the headers, within its segment.
    assert entry - address == 64 + 56
