"""What the engine is told of k3s' containers: every flag, argument, variable and mount."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.home import InvalidNameError
from cove.engines.k3s import entrypoint, spec
from cove.engines.select import open_cluster
from cove.node.docker.labels import CONFIG_HASH

Doc = dict[str, Any]
FOLDER = Path("/state/k8s")
PLACE = spec.Place(network="net", token="secret", folder=FOLDER)
LABELS = {"dev.cove.cluster": "k8s-1"}


def server(place: spec.Place = PLACE, **options: Any) -> Doc:
    return spec.server("k8s", ClusterOptions(**options), place, LABELS)


def agent(index: int = 0, **options: Any) -> Doc:
    return spec.agent("k8s", index, ClusterOptions(**options), PLACE, LABELS)


def arguments(option: str, config: Doc) -> list[str]:
    """The values an option has on the command line."""
    return [a.partition("=")[2] for a in config["Cmd"] if a.partition("=")[0] == option]


def environment(config: Doc) -> dict[str, str]:
    return dict(each.split("=", 1) for each in config["Env"])


# -- the container


@pytest.mark.parametrize("config", [server(), agent()], ids=["server", "agent"])
def test_a_node_has_what_a_kubelet_needs_of_its_container(config: Doc) -> None:
    host = config["HostConfig"]

    assert host["Privileged"] is True
    assert host["Init"] is True
    assert (host["UsernsMode"], host["CgroupnsMode"]) == ("host", "host")
    assert "/sys/fs/cgroup:/sys/fs/cgroup:rw" in host["Binds"]
    assert host["Tmpfs"] == {"/run": "", "/var/run": ""}
    assert config["Entrypoint"] == ["/cove-entrypoint"]
    assert host["ExtraHosts"] == ["host.docker.internal:host-gateway"]


def test_the_server_writes_its_kubeconfig_where_it_is_read() -> None:
    config = server()

    assert environment(config) == {
        "K3S_KUBECONFIG_OUTPUT": "/tmp/k3s-kubeconfig/kubeconfig.yaml",
        "K3S_KUBECONFIG_MODE": "0644",
        "K3S_TOKEN": "secret",
        "K3S_NODE_NAME": "k8s",
    }
    assert "/state/k8s/cluster:/tmp/k3s-kubeconfig:rw" in config["HostConfig"]["Binds"]


@pytest.mark.parametrize(("port", "bound"), [(0, ""), (7443, "7443")])
def test_the_api_is_bound_on_loopback_at_any_port_unless_one_is_given(
    port: int, bound: str
) -> None:
    config = server(api_port=port)

    assert config["ExposedPorts"] == {"6443/tcp": {}}
    assert config["HostConfig"]["PortBindings"] == {
        "6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": bound}]
    }


def test_the_certificate_is_good_for_all_names_of_the_server() -> None:
    assert arguments("--tls-san", server()) == [
        "127.0.0.1",
        "localhost",
        "k8s",
        "0.0.0.0",
        "host.docker.internal",
    ]


def test_the_server_is_found_by_its_name_and_agents_by_theirs() -> None:
    for config, name in ((server(), "k8s"), (agent(1), "k8s-agent-1")):
        assert config["Hostname"] == name
        assert config["HostConfig"]["NetworkMode"] == "net"
        assert config["NetworkingConfig"] == {"EndpointsConfig": {"net": {"Aliases": [name]}}}


def test_an_agent_joins_by_url_token_and_name_and_has_no_port() -> None:
    config = agent(1)

    assert config["Cmd"] == ["agent"]
    assert environment(config) == {
        "K3S_URL": "https://k8s:6443",
        "K3S_TOKEN": "secret",
        "K3S_NODE_NAME": "k8s-agent-1",
    }
    assert "PortBindings" not in config["HostConfig"]


# -- options, on the command line


def test_subnets_are_on_the_command_line_asked_for_or_not() -> None:
    asked = server(pod_subnet="10.50.0.0/16", service_subnet="10.60.0.0/16")

    assert arguments("--cluster-cidr", server()) == ["10.42.0.0/16"]
    assert arguments("--service-cidr", server()) == ["10.43.0.0/16"]
    assert arguments("--cluster-cidr", asked) == ["10.50.0.0/16"]
    assert arguments("--service-cidr", asked) == ["10.60.0.0/16"]


def test_parts_are_disabled_by_default_and_as_asked_for_each_once() -> None:
    config = server(disable=("ingress", "traefik", "metrics-server", "local-storage"))

    assert arguments("--disable", server()) == ["servicelb", "metrics-server"]
    assert arguments("--disable", config) == [
        "servicelb",
        "metrics-server",
        "traefik",
        "local-storage",
    ]


def test_a_blank_part_is_refused_where_it_is_given() -> None:
    with pytest.raises(OptionError, match="blank name"):
        ClusterOptions(disable=("traefik", " "))


def test_negative_agents_are_refused_where_they_are_given() -> None:
    with pytest.raises(OptionError, match="agents is -1"):
        ClusterOptions(agents=-1)


def test_extra_arguments_come_last() -> None:
    config = server(extra_args=("--debug", "--kubelet-arg=max-pods=7"))

    assert config["Cmd"][0] == "server"
    assert config["Cmd"][-2:] == ["--debug", "--kubelet-arg=max-pods=7"]


@pytest.mark.parametrize("argument", ["--cluster-init", "--cluster-init=true"])
def test_etcd_is_never_asked_for(argument: str) -> None:
    assert not any("cluster-init" in a for a in server()["Cmd"])
    with pytest.raises(OptionError, match="would not start again once its container has another"):
        open_cluster("k8s", ClusterOptions(extra_args=(argument,)), engine="k3s", log=print)


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        (None, "v1.36.0-k3s1"),
        ("1.36", "v1.36.0-k3s1"),
        ("v1.35.2", "v1.35.2-k3s1"),
        ("1.35.2", "v1.35.2-k3s1"),
        ("v1.34.1-k3s2", "v1.34.1-k3s2"),
        ("v1.34.1+k3s2", "v1.34.1-k3s2"),
        ("v1.36.0-rc1-k3s1", "v1.36.0-rc1-k3s1"),
        ("latest", "latest"),
    ],
)
def test_a_version_becomes_the_tag_of_server_and_agents_alike(
    version: str | None, tag: str
) -> None:
    assert server(version=version)["Image"] == f"rancher/k3s:{tag}"
    assert agent(version=version)["Image"] == f"rancher/k3s:{tag}"


@pytest.mark.parametrize("version", ["1.35", "newest", "v1.35.2-alpine"])
def test_what_is_no_version_of_k3s_is_refused_when_it_is_given(version: str) -> None:
    with pytest.raises(OptionError, match="is no version of k3s"):
        open_cluster("k8s", ClusterOptions(version=version), engine="k3s", log=print)


def test_images_can_be_others() -> None:
    images = {"server": "mirror.test/k3s:1"}

    assert server(images=images)["Image"] == "mirror.test/k3s:1"
    assert agent(images=images)["Image"] == "mirror.test/k3s:1"
    assert agent(images={**images, "agent": "other:2"})["Image"] == "other:2"


@pytest.mark.parametrize("name", ["", " ", "My Cluster", "a/b"])
def test_a_blank_name_is_refused_where_it_is_given(name: str) -> None:
    with pytest.raises(InvalidNameError):
        open_cluster(name, ClusterOptions(), engine="k3s", log=print)


def test_a_volume_is_a_name_and_no_path() -> None:
    with pytest.raises(OptionError, match="no name of a volume"):
        open_cluster("k8s", ClusterOptions(data_volume="../x"), engine="k3s", log=print)


# -- mounts


def test_the_data_volume_is_where_k3s_keeps_everything() -> None:
    place = spec.Place(network="net", token="t", folder=FOLDER, volume="orders")

    assert "orders:/var/lib/rancher/k3s:rw" in server(place)["HostConfig"]["Binds"]
    assert not any("/var/lib/rancher" in bind for bind in server()["HostConfig"]["Binds"])


def test_a_second_data_volume_changes_nothing() -> None:
    once = spec.with_data_volume(server(), "orders")

    assert spec.with_data_volume(once, "orders") == once
    assert spec.with_data_volume(once, "other") == once


def test_every_mount_of_the_users_is_read_only() -> None:
    """What k3s itself has to write is all that is not."""
    place = spec.Place(
        network="net", token="t", folder=FOLDER, nodes=FOLDER / "nodes", volume="orders"
    )
    options = ClusterOptions(mirrors={"docker.io": "https://mirror.test"})
    written = {
        "/sys/fs/cgroup",
        "/tmp/k3s-kubeconfig",
        "/var/lib/rancher/k3s",
        "/etc/rancher/node",
    }
    configs = [
        spec.server("k8s", options, place, LABELS),
        spec.agent("k8s", 0, options, place, LABELS),
    ]
    for config in configs:
        binds = [bind.split(":") for bind in config["HostConfig"]["Binds"]]

        modes = {target: mode for _, target, mode in binds}
        assert {t for t, mode in modes.items() if mode != "ro"} <= written
        assert modes["/etc/rancher/k3s/registries.yaml"] == "ro"


def test_no_development_certificate_is_pushed_into_k3s() -> None:
    """Nothing comes from this machine but the script and what the specification names."""
    with tarfile.open(fileobj=io.BytesIO(entrypoint.archive())) as tar:
        assert tar.getnames() == ["cove-entrypoint"]
    for config in (server(), agent()):
        text = str(config).lower()
        for word in ("ssl_cert", "ca-certificates", "/etc/ssl", ".pfx", ".pem", ".crt"):
            assert word not in text
        sources = [bind.split(":")[0] for bind in config["HostConfig"]["Binds"]]
        assert set(sources) <= {"/sys/fs/cgroup", "/state/k8s/cluster"}


# -- the script


def test_the_script_is_put_in_with_the_one_mode_there_is_for_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(entrypoint.archive())) as tar:
        [entry] = tar.getmembers()

    assert entry.mode == entrypoint.SCRIPT_MODE == 0o755
    assert (entry.uid, entry.gid) == (0, 0)
    assert f"/{entry.name}" == entrypoint.PATH


def test_the_script_is_one_that_a_shell_understands() -> None:
    checked = subprocess.run(
        ["/bin/sh", "-n"], input=entrypoint.SCRIPT, text=True, capture_output=True
    )

    assert (checked.returncode, checked.stderr) == (0, "")


# -- what it was made of


def test_the_hash_is_of_what_the_container_is_not_of_who_made_it() -> None:
    def hashed(place: spec.Place = PLACE, labels: Doc = LABELS, **options: Any) -> str:
        made = spec.server("k8s", ClusterOptions(**options), place, labels)
        return str(made["Labels"][CONFIG_HASH])

    assert hashed() == hashed(labels={**LABELS, "dev.cove.pid": "7"})
    assert hashed() == hashed(agents=2)  # that is no matter of the server's container
    assert hashed() != hashed(api_port=7443)
    assert hashed(mirrors={"a": "http://b"}) != hashed(mirrors={"a": "http://c"})


def test_what_changed_is_named() -> None:
    before = server(disable=("traefik",))["Labels"]
    after = server(api_port=7443, pod_subnet="10.50.0.0/16")["Labels"]

    assert spec.differences(before, before) == []
    assert spec.differences(before, after) == [
        "api_port was none, is 7443",
        "disable was traefik, is none",
        "pod_subnet was 10.42.0.0/16, is 10.50.0.0/16",
    ]


def test_a_change_of_no_option_is_told_as_what_it_is() -> None:
    place = spec.Place(network="net", token="another", folder=FOLDER)

    told = spec.differences(server()["Labels"], server(place)["Labels"])

    assert told == ["cove makes it in another way, or with another token, by now"]
