"""Workloads: the documents of one compose service.  Pure, but for files that become ConfigMaps.

A Service is headless: by its name every port is reached, as between compose's containers.
"""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.dev.errors import ConfigurationError

__all__ = ["Mount", "Workload", "name_of", "seconds", "words"]

Doc = dict[str, Any]

# A ConfigMap holds at most so many bytes.
LARGEST = 1 << 20


def name_of(service: str) -> str:
    """A name that Kubernetes takes."""
    return re.sub(r"[^a-z0-9-]+", "-", service.lower()).strip("-")[:63] or "service"


def seconds(text: str) -> int:
    """``1m30s`` in seconds, at least 1; raises ValueError."""
    if text.isdigit():
        return max(int(text), 1)
    parts = re.findall(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(text)
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    return max(round(sum(float(n) * units[u] for n, u in parts)), 1)


@dataclass(slots=True)
class Mount:
    """A place in the container: files of this machine, memory, or an empty folder."""

    target: str
    files: list[Path] = field(default_factory=list)
    memory: bool = False
    secret: bool = False
    read_only: bool = False
    # A volume of that name; "" for one of its own.
    volume: str = ""
    # One file, at the target itself.
    alone: bool = False


@dataclass(slots=True)
class Workload:
    """What is known of a service, and the documents it makes."""

    name: str
    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)
    ports: list[tuple[int, str]] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    replicas: int = 1
    container: Doc = field(default_factory=dict)
    pod: Doc = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def documents(self) -> list[Doc]:
        """ConfigMaps and Secrets, the Service, the Deployment; raises ConfigurationError."""
        select = {"app.kubernetes.io/name": self.name}
        metadata = {"name": self.name, "labels": {**select}}
        made: list[Doc] = []
        volumes: list[Doc] = []
        mounts: list[Doc] = []
        for number, mount in enumerate(self.mounts):
            volume = name_of(mount.volume) if mount.volume else f"{self.name[:50]}-{number}"
            if mount.files:
                made.append(self._held(mount, volume))
                kind = {"secretName": volume} if mount.secret else {"name": volume}
                volumes.append({"name": volume, ("secret" if mount.secret else "configMap"): kind})
            elif not any(v["name"] == volume for v in volumes):
                volumes.append(
                    {"name": volume, "emptyDir": {"medium": "Memory"} if mount.memory else {}}
                )
            entry: Doc = {"name": volume, "mountPath": mount.target}
            if mount.alone:
                entry["subPath"] = mount.files[0].name
            if mount.read_only:
                entry["readOnly"] = True
            mounts.append(entry)
        container: Doc = {"name": self.name, "image": self.image, **self.container}
        if self.command is not None:
            container["command"] = self.command
        if self.args is not None:
            container["args"] = self.args
        if self.env:
            container["env"] = [{"name": k, "value": v} for k, v in self.env.items()]
        if self.ports:
            container["ports"] = [
                {"containerPort": port, "protocol": protocol} for port, protocol in self.ports
            ]
        if mounts:
            container["volumeMounts"] = mounts
        pod: Doc = {**self.pod, "containers": [container]}
        if volumes:
            pod["volumes"] = volumes
        service: Doc = {"clusterIP": "None", "selector": select}
        if self.ports:
            service["ports"] = [
                {"name": f"{protocol.lower()}-{port}", "port": port, "protocol": protocol}
                for port, protocol in self.ports
            ]
        made.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
        made.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "replicas": self.replicas,
                    "selector": {"matchLabels": select},
                    "template": {"metadata": {"labels": {**select, **self.labels}}, "spec": pod},
                },
            }
        )
        return made

    def _held(self, mount: Mount, name: str) -> Doc:
        """A ConfigMap or Secret with the files of a mount."""
        data: dict[str, str] = {}
        binary: dict[str, str] = {}
        size = 0
        for file in mount.files:
            try:
                content = file.read_bytes()
            except OSError as e:
                raise ConfigurationError(
                    f"{self.name}: {file}: {(e.strerror or '').lower()}"
                ) from e
            size += len(content)
            try:
                data[file.name] = content.decode()
            except UnicodeDecodeError:
                binary[file.name] = base64.b64encode(content).decode()
        if size > LARGEST:
            raise ConfigurationError(
                f"{self.name}: {mount.target} has {size >> 20} MiB of files, and a ConfigMap holds 1: "
                "put them into the image"
            )
        doc: Doc = {"apiVersion": "v1", "metadata": {"name": name}}
        if mount.secret:
            return {**doc, "kind": "Secret", "stringData": data, "data": binary}
        return {**doc, "kind": "ConfigMap", "data": data, "binaryData": binary}


def words(value: str | list[str]) -> list[str]:
    """A command: a list, or a text as a shell would split it."""
    return shlex.split(value) if isinstance(value, str) else value
