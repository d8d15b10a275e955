"""What an engine is told of a pod: the sandbox and its containers as Docker's API writes them.

Pure.  Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cove.kube.quantity import parse
from cove.node.docker.labels import CONTAINER, SANDBOX
from cove.node.docker.pause import IMAGE
from cove.node.pods.env import ConfigError, expand
from cove.node.pods.volumes import HostVolume

__all__ = ["Mount", "container_config", "container_name", "limits_of", "mounts", "sandbox_config"]

Doc = Mapping[str, Any]

# Docker's CPU shares.
_MIN_SHARES, _MAX_SHARES = 2, 262_144
_PERIOD = 100_000


class Mount(NamedTuple):
    """One mount of a container; ``source`` None is a tmpfs of ``size`` bytes (0: no limit)."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = ""


def container_name(cluster: str, pod: Doc, container: str, attempt: int) -> str:
    """A name no two containers have, made as kubelets did for Docker."""
    metadata = pod["metadata"]
    return (
        f"cove-{cluster}_{container}_{metadata['name'][:80]}_{metadata['namespace'][:40]}_"
        f"{metadata['uid']}_{attempt}"
    )


def hostname(pod: Doc) -> str:
    """What a pod's containers take themselves for."""
    spec = pod["spec"]
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"])
    name = str(spec.get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")
    if spec.get("setHostnameAsFQDN") and spec.get("subdomain"):
        return f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.cluster.local"
    return name


def sandbox_config(
    pod: Doc, labels: Mapping[str, str], network: str, address: str, publish: str
) -> dict[str, Any]:
    """The container that holds a pod's network and IPC.

    ``publish`` is the host's address that hostPorts without hostIP are bound to.
    """
    spec = pod["spec"]
    host: dict[str, Any] = {
        "IpcMode": "host" if spec.get("hostIPC") else "shareable",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none", "Config": {}},
    }
    if spec.get("hostPID"):
        host["PidMode"] = "host"
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
    if sysctls:
        host["Sysctls"] = {s["name"]: s["value"] for s in sysctls}
    config: dict[str, Any] = {
        "Image": IMAGE,
        "Cmd": ["/pause"],
        "Labels": {**labels, CONTAINER: SANDBOX},
        "HostConfig": host,
    }
    if spec.get("hostNetwork"):
        host["NetworkMode"] = "host"
        return config
    config["Hostname"] = hostname(pod)
    host["NetworkMode"] = network
    config["NetworkingConfig"] = {
        "EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}
    }
    bindings: dict[str, list[dict[str, str]]] = {}
    for container in spec["containers"]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                key = f"{port['containerPort']}/{str(port.get('protocol', 'TCP')).lower()}"
                where = {"HostIp": port.get("hostIP") or publish, "HostPort": str(port["hostPort"])}
                bindings.setdefault(key, []).append(where)
    if bindings:
        config["ExposedPorts"] = {key: {} for key in bindings}
        host["PortBindings"] = bindings
    return config


_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


def mounts(
    container: Doc, volumes: Mapping[str, HostVolume], values: Mapping[str, str]
) -> list[Mount]:
    """A container's volume mounts; ``values`` are its environment, for subPathExpr.

    Raises :class:`ConfigError`.
    """
    found: list[Mount] = []
    for mount in container.get("volumeMounts") or ():
        volume = volumes.get(mount["name"])
        if volume is None:
            raise ConfigError(
                f'volume "{mount["name"]}" of container {container["name"]} is not there'
            )
        path = volume.path
        below = mount.get("subPath") or ""
        if mount.get("subPathExpr"):
            below = expand(mount["subPathExpr"], values)
            if "$(" in below:
                raise ConfigError(f"subPathExpr {mount['subPathExpr']} names an unknown variable")
        if ".." in below.split("/") or below.startswith("/"):
            raise ConfigError(f"subPath {below} leads out of its volume")
        if below:
            path = f"{path}/{below}"
        found.append(
            Mount(
                path,
                mount["mountPath"],
                bool(mount.get("readOnly")) or volume.read_only,
                _PROPAGATION.get(mount.get("mountPropagation", ""), ""),
            )
        )
    return found


def container_config(
    pod: Doc,
    container: Doc,
    *,
    image: str,
    labels: Mapping[str, str],
    sandbox: str,
    env: Mapping[str, str],
    binds: Sequence[Mount],
    tmpfs: Mapping[str, str],
    guaranteed: int,
) -> dict[str, Any]:
    """One container that joins ``sandbox``; ``tmpfs`` maps targets to engine volumes.

    ``guaranteed`` is its oom_score_adj.
    """
    spec = pod["spec"]
    within = f"container:{sandbox}"
    host: dict[str, Any] = {
        "NetworkMode": within,
        "IpcMode": "host" if spec.get("hostIPC") else within,
        "OomScoreAdj": guaranteed,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
        "Mounts": [_bind(m) for m in binds]
        + [{"Type": "volume", "Source": name, "Target": to} for to, name in tmpfs.items()],
    }
    if spec.get("hostPID"):
        host["PidMode"] = "host"
    elif spec.get("shareProcessNamespace"):
        host["PidMode"] = within
    _limits(host, container)
    config: dict[str, Any] = {
        "Image": image,
        "Labels": {**labels, CONTAINER: container["name"]},
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Tty": bool(container.get("tty")),
        "OpenStdin": bool(container.get("stdin")),
        "StdinOnce": bool(container.get("stdinOnce")),
        # A kubelet's probes take the place of an image's health check.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }
    if container.get("command"):
        config["Entrypoint"] = [expand(word, env) for word in container["command"]]
    if container.get("args"):
        config["Cmd"] = [expand(word, env) for word in container["args"]]
    if container.get("workingDir"):
        config["WorkingDir"] = container["workingDir"]
    signal = (container.get("lifecycle") or {}).get("stopSignal")
    if signal:
        config["StopSignal"] = signal
    _security(config, host, pod, container)
    return config


def _bind(mount: Mount) -> dict[str, Any]:
    bind: dict[str, Any] = {
        "Type": "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.propagation:
        bind["BindOptions"] = {"Propagation": mount.propagation}
    return bind


def limits_of(container: Doc) -> dict[str, Any]:
    """What the engine is told when resources change while a container runs.

    A limit that is gone is written as none (-1).
    """
    host: dict[str, Any] = {}
    _limits(host, container)
    host.setdefault("Memory", 0)
    host.setdefault("MemorySwap", -1)
    host.setdefault("CpuPeriod", _PERIOD)
    host.setdefault("CpuQuota", -1)
    return host


def _limits(host: dict[str, Any], container: Doc) -> None:
    """Resources as cgroup settings: limits are limits, requests the share under pressure."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if "cpu" in limits:
        milli = parse(str(limits["cpu"])).milli
        if milli:
            host["CpuPeriod"] = _PERIOD
            host["CpuQuota"] = max(milli * _PERIOD // 1000, 1000)
    share = requests.get("cpu", limits.get("cpu"))
    milli = parse(str(share)).milli if share is not None else 0
    host["CpuShares"] = min(max(milli * 1024 // 1000, _MIN_SHARES), _MAX_SHARES)
    if "memory" in limits:
        size = parse(str(limits["memory"])).value
        if size:
            # No swap beyond it, as on a node without swap.
            host["Memory"] = host["MemorySwap"] = size


def _security(config: dict[str, Any], host: dict[str, Any], pod: Doc, container: Doc) -> None:
    of_pod = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    user = own.get("runAsUser", of_pod.get("runAsUser"))
    group = own.get("runAsGroup", of_pod.get("runAsGroup"))
    if user is not None or group is not None:
        config["User"] = f"{'0' if user is None else user}" + ("" if group is None else f":{group}")
    groups = [*(of_pod.get("supplementalGroups") or ())]
    if of_pod.get("fsGroup") is not None:
        groups.append(of_pod["fsGroup"])
    if groups:
        host["GroupAdd"] = [str(g) for g in groups]
    if own.get("privileged"):
        host["Privileged"] = True
    if own.get("readOnlyRootFilesystem"):
        host["ReadonlyRootfs"] = True
    capabilities = own.get("capabilities") or {}
    if capabilities.get("add"):
        host["CapAdd"] = [c.removeprefix("CAP_") for c in capabilities["add"]]
    if capabilities.get("drop"):
        host["CapDrop"] = [c.removeprefix("CAP_") for c in capabilities["drop"]]
    options = []
    if own.get("allowPrivilegeEscalation") is False:
        options.append("no-new-privileges")
    seccomp = (own.get("seccompProfile") or of_pod.get("seccompProfile") or {}).get("type")
    if seccomp == "Unconfined":
        options.append("seccomp=unconfined")
    if options:
        host["SecurityOpt"] = options
    if own.get("procMount") == "Unmasked":
        host["MaskedPaths"], host["ReadonlyPaths"] = [], []
