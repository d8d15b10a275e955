"""What an engine is told of a k3s cluster's containers.  Pure: options in, documents out.

The server and its agents differ in their command, what they are told in their environment,
and what of this machine they have; the rest is the same.

Source: https://docs.k3s.io/cli/server, https://docs.k3s.io/cli/agent
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cove.engines.cluster import ClusterOptions, OptionError
from cove.engines.credentials import HOST_OF_CONTAINERS
from cove.engines.k3s import addons
from cove.engines.k3s.entrypoint import PATH, RESOLV_CONF, RESOLVER, SCRIPT
from cove.engines.k3s.registries import REGISTRY, alias, registries
from cove.kube.version import MAJOR, MINOR
from cove.node.docker.labels import CONFIG_HASH, OPTIONS, ROLE

__all__ = [
    "API",
    "Place",
    "agent",
    "agent_name",
    "check",
    "differences",
    "image",
    "ports",
    "server",
    "server_arguments",
    "with_data_volume",
]

Doc = dict[str, Any]

REPOSITORY = "rancher/k3s"
DEFAULT_TAG = f"v{MAJOR}.{MINOR}.0-k3s1"
POD_SUBNET = "10.42.0.0/16"
SERVICE_SUBNET = "10.43.0.0/16"
# Load balancers need ports of this machine, metrics time and memory: who wants them says so.
DISABLED = ("servicelb", "metrics-server")
# cove's words for parts of k3s.
PARTS = {"ingress": "traefik"}
PORT = 6443
API = f"{PORT}/tcp"
KUBECONFIG = "/tmp/k3s-kubeconfig"
# k3s writes as root, and who started the cluster has to read it: the folder it is in is
# that user's alone.
KUBECONFIG_MODE = "0644"
DATA = "/var/lib/rancher/k3s"
# A node's password: the server remembers it, so a node that is made anew has to as well.
NODE = "/etc/rancher/node"
REGISTRIES = "/etc/rancher/k3s/registries.yaml"
AIRGAP = f"{DATA}/agent/images"
VOLUME = re.compile(r"[a-zA-Z0-9][\w.-]*")
_TAG = re.compile(r"v\d+\.\d+\.\d+(-rc\d+)?(-alpha\d+|-beta\d+)?-k3s\d+|latest|stable")
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[+-](.+))?")


def check(options: ClusterOptions) -> None:
    """Raise OptionError for what k3s cannot do, or must not."""
    image(options, "server")
    for path in options.k3s.airgap:
        if not path.is_absolute() or not path.is_file():
            raise OptionError(f"k3s airgap {path}: no file of that whole path is there")
    for argument in options.extra_args:
        if argument.split("=")[0] in ("--cluster-init", "cluster-init"):
            raise OptionError(
                "extra_args --cluster-init: with etcd the cluster would not start again once its "
                "container has another address; leave it out, SQLite keeps the objects"
            )


def image(options: ClusterOptions, role: str) -> str:
    """The image of a role: ``images``, else the version's.  Agents are what the server is."""
    named = options.images.get(role) or options.images.get("server")
    return named or f"{REPOSITORY}:{_tag(options.version)}"


def _tag(version: str | None) -> str:
    """An image's tag for a Kubernetes version or a tag of k3s."""
    if version is None:
        return DEFAULT_TAG
    tag = version.replace("+", "-")
    if _TAG.fullmatch(tag):
        return tag
    found = _VERSION.fullmatch(version)
    if found is not None and found[4] is None:
        if found[3] is not None:
            return f"v{found[1]}.{found[2]}.{found[3]}-k3s1"
        if found.group(1, 2) == (MAJOR, MINOR):
            return DEFAULT_TAG
    raise OptionError(
        f'version "{version}" is no version of k3s: say a whole one, such as 1.36.0, or an '
        f"image's tag, such as {DEFAULT_TAG}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What of this machine and its engine a cluster's containers have.

    ``folder`` is the cluster's state folder.  ``nodes`` keeps what a node remembers of
    itself, for clusters that outlive their containers; None for others.  ``volume`` is the
    data volume's name, ``""`` for none.  ``https`` tells whether there is an authority to sign
    for domains.
    """

    network: str
    token: str
    folder: Path
    nodes: Path | None = None
    volume: str = ""
    https: bool = True


def _tuning(options: ClusterOptions) -> list[str]:
    """What server and agents are told alike, each of them for its own kubelet and proxy."""
    mode = options.k3s.proxy_mode
    return [
        *([f"--resolv-conf={RESOLV_CONF}"] if options.k3s.resolver else ()),
        *([f"--kube-proxy-arg=proxy-mode={mode}"] if mode else ()),
    ]


def server_arguments(name: str, options: ClusterOptions) -> list[str]:
    """The server's command line.  Never ``--cluster-init``: see :func:`check`."""
    k3s = options.k3s
    names = dict.fromkeys(["127.0.0.1", "localhost", name, "0.0.0.0", HOST_OF_CONTAINERS])
    asked = [PARTS.get(part, part) for part in options.disable if part != "registry"]
    if addons.serves_ingress(options):
        # cove's own has the ports.
        asked.append("traefik")
    parts = dict.fromkeys([*DISABLED, *asked])
    return [
        "server",
        *(f"--tls-san={each}" for each in names),
        f"--cluster-cidr={options.pod_subnet or POD_SUBNET}",
        f"--service-cidr={options.service_subnet or SERVICE_SUBNET}",
        *([f"--cluster-dns={k3s.cluster_dns}"] if k3s.cluster_dns else ()),
        *([f"--flannel-backend={k3s.flannel_backend}"] if k3s.flannel_backend else ()),
        *(f"--disable={part}" for part in parts),
        *_tuning(options),
        *options.extra_args,
    ]


def agent_name(name: str, index: int) -> str:
    """An agent's node, host and name in the network."""
    return f"{name}-agent-{index}"


def server(name: str, options: ClusterOptions, place: Place, labels: Mapping[str, str]) -> Doc:
    """The server's container."""
    environment = {
        "K3S_KUBECONFIG_OUTPUT": f"{KUBECONFIG}/kubeconfig.yaml",
        "K3S_KUBECONFIG_MODE": KUBECONFIG_MODE,
    }
    config = _node(name, options, place, "server", environment, server_arguments(name, options))
    published = ports(options)
    config["ExposedPorts"] = {f"{port}/tcp": {} for port in published}
    host = config["HostConfig"]
    host["PortBindings"] = {
        f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(wanted or "")}]
        for port, wanted in published.items()
    }
    if options.k3s.registry:
        # Peers push, and nodes pull, by the name that pods have for it.
        config["NetworkingConfig"]["EndpointsConfig"][place.network]["Aliases"].append(alias(name))
    host["Binds"].append(f"{place.folder / 'cluster'}:{KUBECONFIG}:rw")
    if registries(name, options):
        host["Binds"].append(_registries_of(place))
    if place.volume:
        config = with_data_volume(config, place.volume)
    shown = {
        "image": config["Image"],
        "api_port": options.api_port,
        "pod_subnet": options.pod_subnet or POD_SUBNET,
        "service_subnet": options.service_subnet or SERVICE_SUBNET,
        "disable": sorted(options.disable),
        "extra_args": list(options.extra_args),
        "data_volume": place.volume,
        "mirrors": dict(options.mirrors),
        **_shown_k3s(options),
    }
    manifests = addons.manifests(name, options, https=place.https)
    return _labelled(config, "server", shown, [registries(name, options), manifests], labels)


def _shown_k3s(options: ClusterOptions) -> Doc:
    """Of k3s' own options those that make its container another one, as a label tells them."""
    k3s = options.k3s
    found: Doc = {
        name: getattr(k3s, name)
        for name in (
            "registry",
            "resolver",
            "cluster_dns",
            "flannel_backend",
            "proxy_mode",
        )
    }
    found["ingress"] = addons.serves_ingress(options)
    found["domains"] = list(options.domains)
    found["ports"] = {str(inside): outside for inside, outside in k3s.ports.items()}
    found["ports"] |= {str(node_port): port for port, node_port in options.ports.items()}
    found["airgap"] = [path.name for path in k3s.airgap]
    return found


def ports(options: ClusterOptions) -> dict[int, int]:
    """The server's ports that this machine has, and there as which: 0 any free one."""
    found = {PORT: options.api_port}
    if addons.serves_ingress(options):
        found.update({80: 0, 443: 0})
    if options.k3s.registry:
        found[REGISTRY] = 0
    # A NodePort is one of the node's own: the server's container hands it to this machine.
    nodes = {node_port: port for port, node_port in options.ports.items()}
    return {**found, **options.k3s.ports, **nodes}


def agent(
    name: str, index: int, options: ClusterOptions, place: Place, labels: Mapping[str, str]
) -> Doc:
    """The container of an agent.  It asks for the server until that is there."""
    environment = {"K3S_URL": f"https://{name}:{PORT}"}
    command = ["agent", *_tuning(options)]
    config = _node(agent_name(name, index), options, place, "agent", environment, command)
    shown = {"image": config["Image"], "mirrors": dict(options.mirrors)}
    own = registries(name, options)
    if own:
        config["HostConfig"]["Binds"].append(_registries_of(place))
    return _labelled(config, "agent", shown, [own], labels)


def _node(
    name: str,
    options: ClusterOptions,
    place: Place,
    role: str,
    environment: Mapping[str, str],
    command: list[str],
) -> Doc:
    """What server and agents have in common."""
    binds = ["/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    if place.nodes is not None:
        binds.append(f"{place.nodes / name}:{NODE}:rw")
    # k3s unpacks every archive of images that it finds there when it starts.
    binds += [f"{path}:{AIRGAP}/{path.name}:ro" for path in options.k3s.airgap]
    told = {**environment, "K3S_TOKEN": place.token, "K3S_NODE_NAME": name}
    if options.k3s.resolver:
        told[RESOLVER] = options.k3s.resolver
    return {
        "Image": image(options, role),
        "Hostname": name,
        "Entrypoint": [PATH],
        "Cmd": command,
        "Env": [f"{key}={value}" for key, value in told.items()],
        "HostConfig": {
            "Privileged": True,
            "Init": True,
            "UsernsMode": "host",
            "CgroupnsMode": "host",
            "Binds": binds,
            "Tmpfs": {"/run": "", "/var/run": ""},
            "NetworkMode": place.network,
            "ExtraHosts": [f"{HOST_OF_CONTAINERS}:host-gateway"],
        },
        "NetworkingConfig": {"EndpointsConfig": {place.network: {"Aliases": [name]}}},
    }


def with_data_volume(config: Mapping[str, Any], volume: str) -> Doc:
    """The same container with a volume for the server's data; one that has one stays as it is."""
    host = config["HostConfig"]
    if any(bind.split(":")[1] == DATA for bind in host["Binds"]):
        return dict(config)
    binds = [*host["Binds"], f"{volume}:{DATA}:rw"]
    return {**config, "HostConfig": {**host, "Binds": binds}}


def _registries_of(place: Place) -> str:
    return f"{place.folder / 'registries.yaml'}:{REGISTRIES}:ro"


def _labelled(
    config: Doc,
    role: str,
    shown: Mapping[str, Any],
    contents: Sequence[object],
    labels: Mapping[str, str],
) -> Doc:
    """With labels that tell, later, what it was made of.

    What the files hold that it is given (``contents``, the script) counts, too; who made the
    container does not.
    """
    counted = [config, SCRIPT, *contents]
    text = json.dumps(counted, sort_keys=True)
    config["Labels"] = {
        **labels,
        ROLE: role,
        CONFIG_HASH: sha256(text.encode()).hexdigest()[:16],
        OPTIONS: json.dumps(shown, sort_keys=True),
    }
    return config


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Why a container with the labels ``before`` is not the one wanted; none if it is."""
    if before.get(CONFIG_HASH) == after[CONFIG_HASH]:
        return []
    try:
        had = json.loads(before.get(OPTIONS) or "{}")
    except ValueError:
        had = {}
    wanted = json.loads(after[OPTIONS])
    return [
        f"{key} was {_shown(had.get(key))}, is {_shown(value)}"
        for key, value in wanted.items()
        if had.get(key) != value
    ] or ["cove makes it in another way, or with another token, by now"]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
    return "none" if value in (None, "", 0) else str(value)
