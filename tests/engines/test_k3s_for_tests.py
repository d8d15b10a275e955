"""k3s as tests have it: what is on its command line, in its container and in its files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.k3s import entrypoint, spec
from cove.engines.k3s.registries import registries
from cove.engines.k3s_options import REGISTRIES, K3sOptions, for_tests, mirrors_of
from cove.testing.declarations import cluster
from cove.testing.warm import _options

Doc = dict[str, Any]
PLACE = spec.Place(network="net", token="secret", folder=Path("/state/k8s"))


def declared(**options: Any) -> ClusterOptions:
    """What a test's declaration comes to on k3s."""
    return _options(cluster(**options), "k3s", None)


def server(options: ClusterOptions) -> Doc:
    return spec.server("k8s", options, PLACE, {})


def arguments(option: str, config: Doc) -> list[str]:
    return [a.partition("=")[2] for a in config["Cmd"] if a.partition("=")[0] == option]


def published(config: Doc) -> dict[str, str]:
    bindings = config["HostConfig"]["PortBindings"].items()
    assert all(bound["HostIp"] == "127.0.0.1" for _, [bound] in bindings)
    return {port.removesuffix("/tcp"): bound["HostPort"] for port, [bound] in bindings}


# -- options


def test_a_tests_cluster_is_given_what_it_declares() -> None:
    options = declared(version="1.35.2", extra_args=["--debug"], ingress_domains=["shop.test"])

    config = server(options)

    assert config["Image"] == "rancher/k3s:v1.35.2-k3s1"
    assert config["Cmd"][-1] == "--debug"
    assert options.domains == ("shop.test",)


def test_a_tests_cluster_has_two_minutes_a_registry_and_no_domains() -> None:
    options = declared()

    assert options.k3s.ready_timeout == 120.0
    assert options.k3s.registry
    assert options.domains == ()
    assert declared(ready_timeout=7.0).k3s.ready_timeout == 7.0
    assert not declared(registry=False).k3s.registry


def test_extra_arguments_are_behind_everything_that_tests_add() -> None:
    config = server(declared(extra_args=["--flannel-backend=vxlan", "--debug"]))

    assert config["Cmd"][-2:] == ["--flannel-backend=vxlan", "--debug"]
    assert arguments("--flannel-backend", config) == ["host-gw", "vxlan"]


def test_an_application_has_k3s_as_it_comes() -> None:
    config = server(ClusterOptions())

    for option in ("--resolv-conf", "--cluster-dns", "--flannel-backend", "--kube-proxy-arg"):
        assert arguments(option, config) == []
    assert published(config) == {"6443": ""}
    assert K3sOptions().ready_timeout == 600.0


def test_what_was_asked_for_stays() -> None:
    asked = ClusterOptions(
        pod_subnet="10.50.0.0/16",
        service_subnet="10.60.0.0/16",
        k3s=K3sOptions(resolver="192.0.2.1", flannel_backend="vxlan", ports={80: 8080}),
    )

    options = for_tests(asked)

    assert (options.pod_subnet, options.service_subnet) == ("10.50.0.0/16", "10.60.0.0/16")
    assert (options.k3s.resolver, options.k3s.flannel_backend) == ("192.0.2.1", "vxlan")
    assert options.k3s.cluster_dns == "10.60.0.10"
    assert options.k3s.proxy_mode == "nftables"
    assert published(server(options))["80"] == "8080"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ready_timeout": 0}, "ready_timeout is 0"),
        ({"ports": {0: 80}}, "ports 0: 80"),
        ({"ports": {80: 70000}}, "ports 80: 70000"),
        ({"ports": {6443: 1}}, "api_port"),
        ({"resolver": "dns.test"}, 'resolver "dns.test" is no address'),
        ({"cluster_dns": "x"}, 'cluster_dns "x" is no address'),
        ({"load": (" ",)}, "blank name"),
    ],
)
def test_what_k3s_cannot_be_told_is_refused_where_it_is_given(options: Doc, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        K3sOptions(**options)


# -- container and command line


def test_ports_of_a_tests_cluster_are_on_loopback() -> None:
    assert published(server(declared())) == {"6443": "", "80": "", "443": "", "5000": ""}
    assert published(server(declared(registry=False))) == {"6443": "", "80": "", "443": ""}


def test_the_container_is_privileged_and_has_what_is_temporary_in_memory() -> None:
    host = server(declared())["HostConfig"]

    assert host["Privileged"] is True
    assert host["CgroupnsMode"] == "host"
    assert host["Tmpfs"] == {"/run": "", "/var/run": ""}


def test_subnets_do_not_shadow_the_machines_routes() -> None:
    config = server(declared())

    assert arguments("--cluster-cidr", config) == ["10.44.0.0/16"]
    assert arguments("--service-cidr", config) == ["10.45.0.0/16"]
    assert arguments("--cluster-dns", config) == ["10.45.0.10"]


def test_parts_that_tests_do_without_are_disabled() -> None:
    assert arguments("--disable", server(declared())) == [
        "servicelb",
        "metrics-server",
        "traefik",
    ]
    without = declared(disable=["ingress"])
    assert arguments("--disable", server(without)).count("traefik") == 1


def test_every_node_has_the_resolver_and_kube_proxys_mode() -> None:
    options = declared(nodes=2)

    for config in (server(options), spec.agent("k8s", 0, options, PLACE, {})):
        assert arguments("--resolv-conf", config) == ["/etc/cove-resolv.conf"]
        assert arguments("--kube-proxy-arg", config) == ["proxy-mode=nftables"]
        assert "COVE_RESOLVER=gateway" in config["Env"]
    assert arguments("--flannel-backend", server(options)) == ["host-gw"]
    assert "K3S_KUBECONFIG_MODE=0644" in server(options)["Env"]


# -- the default gateway

HEAD = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
TABLES = [
    ("eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0\n", "172.17.0.1"),
    (
        "eth0 0000A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        "eth0 00000000 FE10A8C0 0003 0 0 0 00000000 0 0 0\n",
        "192.168.16.254",
    ),
    # The lower metric is the one that is used.
    (
        "a 00000000 0100000A 0003 0 0 600 00000000 0 0 0\n"
        "b 00000000 0200000A 0003 0 0 100 00000000 0 0 0\n"
        "c 00000000 0300000A 0003 0 0 700 00000000 0 0 0\n",
        "10.0.0.2",
    ),
    # Down; a route to a link, by no gateway; half of all addresses.
    ("a 00000000 0100000A 0002 0 0 0 00000000 0 0 0\n", ""),
    ("a 00000000 00000000 0001 0 0 0 00000000 0 0 0\n", ""),
    ("a 00000000 0100000A 0003 0 0 0 00000080 0 0 0\n", ""),
    ("", ""),
]
SHELLS = [
    pytest.param(["/bin/sh"], id="sh"),
    pytest.param(
        ["/bin/busybox", "sh"],
        id="busybox",
        marks=pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="there is no busybox"),
    ),
]


def shell(command: list[str], script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=script, text=True, capture_output=True, timeout=30, check=False
    )


@pytest.mark.parametrize("command", SHELLS)
@pytest.mark.parametrize(("table", "gateway"), TABLES)
def test_the_default_gateway_is_found_in_a_table_of_routes(
    command: list[str], table: str, gateway: str, tmp_path: Path
) -> None:
    (tmp_path / "route").write_text(HEAD + table)

    found = shell(command, f"set -eu\n{entrypoint.GATEWAY}\ngateway_of {tmp_path}/route")

    assert (found.returncode, found.stdout.strip(), found.stderr) == (0, gateway, "")


def rewritten(tmp_path: Path, table: str) -> str:
    """The script's own end, over files of the test's."""
    (tmp_path / "route").write_text(HEAD + table)
    script = entrypoint.SCRIPT
    end = script[script.index("# Whom pods ask") : script.index('exec k3s "$@"')]
    end = end.replace("/proc/net/route", f"{tmp_path}/route")
    return "set -eu\n" + entrypoint.GATEWAY + end.replace("/etc/", f"{tmp_path}/")


@pytest.mark.parametrize("command", SHELLS)
def test_pods_ask_the_gateway_and_try_no_suffix_first(command: list[str], tmp_path: Path) -> None:
    script = "COVE_RESOLVER=gateway\n" + rewritten(tmp_path, TABLES[0][0])

    done = shell(command, script)

    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "cove-resolv.conf").read_text()
    assert text == "nameserver 172.17.0.1\noptions ndots:0\n"


@pytest.mark.parametrize("command", SHELLS)
def test_without_a_gateway_there_is_a_warning_and_an_empty_file(
    command: list[str], tmp_path: Path
) -> None:
    done = shell(command, "COVE_RESOLVER=gateway\n" + rewritten(tmp_path, ""))

    assert done.returncode == 0
    assert "there is no default gateway" in done.stderr
    assert (tmp_path / "cove-resolv.conf").read_text() == ""


def test_another_resolver_is_written_as_it_was_said(tmp_path: Path) -> None:
    done = shell(["/bin/sh"], "COVE_RESOLVER=192.0.2.7\n" + rewritten(tmp_path, ""))

    assert done.returncode == 0
    assert "nameserver 192.0.2.7\n" in (tmp_path / "cove-resolv.conf").read_text()


def test_without_a_resolver_no_file_is_written(tmp_path: Path) -> None:
    done = shell(["/bin/sh"], rewritten(tmp_path, TABLES[0][0]))

    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "cove-resolv.conf").exists()


# -- registries.yaml


def written(options: ClusterOptions) -> Doc:
    found: Doc = yaml.safe_load(registries("k8s", options))["mirrors"]
    return found


def test_one_template_mirrors_every_registry_that_is_common() -> None:
    mirrors = written(declared(mirrors="http://cache.test/{host}", registry=False))

    assert mirrors == {
        "docker.io": {"endpoint": ["http://cache.test/docker.io", "https://registry-1.docker.io"]},
        "ghcr.io": {"endpoint": ["http://cache.test/ghcr.io", "https://ghcr.io"]},
        "quay.io": {"endpoint": ["http://cache.test/quay.io", "https://quay.io"]},
        "registry.k8s.io": {
            "endpoint": ["http://cache.test/registry.k8s.io", "https://registry.k8s.io"]
        },
        "public.ecr.aws": {
            "endpoint": ["http://cache.test/public.ecr.aws", "https://public.ecr.aws"]
        },
        "gcr.io": {"endpoint": ["http://cache.test/gcr.io", "https://gcr.io"]},
        "mcr.microsoft.com": {
            "endpoint": ["http://cache.test/mcr.microsoft.com", "https://mcr.microsoft.com"]
        },
    }
    assert tuple(mirrors) == REGISTRIES


def test_mirrors_by_host_have_their_upstream_second() -> None:
    mirrors = written(declared(mirrors={"own.test": "http://m.test"}, registry=False))

    assert mirrors == {"own.test": {"endpoint": ["http://m.test", "https://own.test"]}}
    assert mirrors_of(None) == {}


def test_the_registry_in_the_cluster_is_believed_without_tls() -> None:
    own = {"endpoint": ["http://k8s.internal:5000"]}
    fixed = declared(k3s=K3sOptions(ports={5000: 5001}))

    assert written(declared()) == {"k8s.internal:5000": own}
    assert written(fixed) == {"k8s.internal:5000": own, "localhost:5001": own}


def test_where_there_is_nothing_to_say_there_is_no_file() -> None:
    options = declared(registry=False)

    assert registries("k8s", options) == ""
    assert "registries.yaml" not in str(server(options))
    assert "registries.yaml" not in str(spec.agent("k8s", 0, options, PLACE, {}))


def test_every_node_reads_it_and_none_writes_it() -> None:
    options = declared()

    for config in (server(options), spec.agent("k8s", 0, options, PLACE, {})):
        bind = "/state/k8s/registries.yaml:/etc/rancher/k3s/registries.yaml:ro"
        assert bind in config["HostConfig"]["Binds"]


@pytest.mark.parametrize("mirrors", [{"": "http://a"}, {"docker.io": "cache.test"}])
def test_a_mirror_that_is_none_is_refused_where_it_is_given(mirrors: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="mirrors"):
        ClusterOptions(mirrors=mirrors)
