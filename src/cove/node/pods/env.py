"""The environment of a container, and what ``$(NAME)`` in its commands becomes.

Pure: what is looked up elsewhere comes as functions.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#environment-variables,
``third_party/forked/golang/expansion``, ``pkg/kubelet/envvars``
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cove.kube.quantity import QuantityError, parse
from cove.kube.status import CoveError

__all__ = ["Around", "ConfigError", "environment", "expand", "field", "resource", "service_links"]

Doc = Mapping[str, Any]

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_KEYED = re.compile(r"(metadata\.(?:labels|annotations))\['(.+)'\]")
_ENV_NAME = re.compile(r"[^\x00=]+")


class ConfigError(CoveError):
    """A container cannot be made as it is written (CreateContainerConfigError)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """What a pod can ask about itself; addresses as texts, ``allocatable`` of its node."""

    address: str
    host: str
    allocatable: Mapping[str, str]
    config_map: Callable[[str], Doc | None]
    secret: Callable[[str], Doc | None]
    services: Iterable[Doc] = ()
    # Files of a volume, for fileKeyRef: (volume, path) → text, None if there is none.
    file: Callable[[str, str], str | None] = lambda _volume, _path: None


def expand(text: str, values: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced; unknown names stay as they are, ``$$`` is a dollar sign."""

    def one(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(one, text)


def field(pod: Doc, path: str, around: Around) -> str:
    """What a fieldRef says; raises ConfigError for a path there is none of."""
    metadata, spec = pod["metadata"], pod["spec"]
    keyed = _KEYED.fullmatch(path)
    if keyed:
        return str((metadata.get(keyed[1].partition(".")[2]) or {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f"{k}={_quoted(v)}" for k, v in sorted(pairs.items()))
    found = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": around.host,
        "status.hostIPs": around.host,
        "status.podIP": around.address,
        "status.podIPs": around.address,
    }.get(path)
    if found is None:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(found)


def _quoted(text: str) -> str:
    """As Go's strconv.Quote writes it, for the texts of labels and annotations."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


def resource(container: Doc, name: str, divisor: str, allocatable: Mapping[str, str]) -> str:
    """What a resourceFieldRef says: a whole number of divisors, rounded up.

    A limit that is not set is what the node has.
    """
    kind, _, key = name.partition(".")
    found = ((container.get("resources") or {}).get(kind) or {}).get(key)
    if found is None:
        found = allocatable.get(key, "0") if kind == "limits" else "0"
    try:
        value = parse(str(found)).fraction
        by = parse(str(divisor)).fraction or 1
    except QuantityError as e:
        raise ConfigError(str(e)) from e
    return str(int(-(-value // by)))


def _env_name(text: str) -> str:
    return re.sub(r"[-.]", "_", text).upper()


def service_links(services: Iterable[Doc]) -> dict[str, str]:
    """The variables that tell of services, as Docker's links did."""
    found: dict[str, str] = {}
    for service in services:
        spec = service["spec"]
        address = spec.get("clusterIP", "")
        ports = spec.get("ports") or ()
        if not address or address == "None" or not ports:
            continue
        prefix = _env_name(service["metadata"]["name"])
        shown = f"[{address}]" if ":" in address else address
        found[f"{prefix}_SERVICE_HOST"] = address
        found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                found[f"{prefix}_SERVICE_PORT_{_env_name(port['name'])}"] = str(port["port"])
        for index, port in enumerate(ports):
            protocol = str(port.get("protocol", "TCP")).lower()
            url = f"{protocol}://{shown}:{port['port']}"
            if index == 0:
                found[f"{prefix}_PORT"] = url
            one = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
            found[one] = url
            found[f"{one}_PROTO"] = protocol
            found[f"{one}_PORT"] = str(port["port"])
            found[f"{one}_ADDR"] = address
    return found


def environment(container: Doc, pod: Doc, around: Around) -> dict[str, str]:
    """Name → value, in the order in which they are set; raises :class:`ConfigError`."""
    linked = service_links(around.services)
    values: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        values.update(_from(source, pod, around))
    for entry in container.get("env") or ():
        name = entry["name"]
        if entry.get("value"):
            value: str | None = expand(entry["value"], {**linked, **values})
        elif entry.get("valueFrom"):
            value = _value(entry["valueFrom"], container, pod, around)
        else:
            value = ""
        if value is not None:
            values[name] = value
    # What the pod says wins over what services add.
    return {**{k: v for k, v in linked.items() if k not in values}, **values}


def _from(source: Doc, pod: Doc, around: Around) -> dict[str, str]:
    prefix = source.get("prefix", "")
    if source.get("configMapRef"):
        ref, found, kind = source["configMapRef"], around.config_map, "configmap"
    else:
        ref, found, kind = source["secretRef"], around.secret, "secret"
    obj = found(ref["name"])
    if obj is None:
        if ref.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{ref["name"]}" not found')
    return {prefix + key: value for key, value in _data(obj).items() if _ENV_NAME.fullmatch(key)}


def _data(obj: Doc) -> dict[str, str]:
    data = obj.get("data") or {}
    if "type" in obj or obj.get("kind") == "Secret":
        return {k: b64decode(v).decode(errors="replace") for k, v in data.items()}
    return dict(data)


def _value(source: Doc, container: Doc, pod: Doc, around: Around) -> str | None:
    """None leaves the variable out."""
    if source.get("fieldRef"):
        return field(pod, source["fieldRef"]["fieldPath"], around)
    if source.get("resourceFieldRef"):
        ref = source["resourceFieldRef"]
        of = container
        if ref.get("containerName"):
            named = [
                c
                for kind in ("containers", "initContainers")
                for c in pod["spec"].get(kind) or ()
                if c["name"] == ref["containerName"]
            ]
            if not named:
                raise ConfigError(f"container {ref['containerName']} not found")
            of = named[0]
        return resource(of, ref["resource"], str(ref.get("divisor", "0")), around.allocatable)
    if source.get("fileKeyRef"):
        return _of_file(source["fileKeyRef"], around)
    return _of_key(source, pod["metadata"]["namespace"], around)


def _of_key(source: Doc, namespace: str, around: Around) -> str | None:
    if source.get("configMapKeyRef"):
        ref, found = source["configMapKeyRef"], around.config_map
        kind, shown = "configmap", "ConfigMap"
    elif source.get("secretKeyRef"):
        ref, found = source["secretKeyRef"], around.secret
        kind, shown = "secret", "Secret"
    else:
        return ""
    obj = found(ref["name"])
    optional = ref.get("optional", False)
    if obj is None:
        if optional:
            return None
        raise ConfigError(f'{kind} "{ref["name"]}" not found')
    data = _data(obj)
    if ref["key"] not in data:
        if optional:
            return None
        raise ConfigError(f"couldn't find key {ref['key']} in {shown} {namespace}/{ref['name']}")
    return data[ref["key"]]


def _of_file(ref: Doc, around: Around) -> str | None:
    text = around.file(ref["volumeName"], ref["path"])
    for line in (text or "").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == ref["key"]:
            return value.strip().strip("'\"")
    if ref.get("optional"):
        return None
    raise ConfigError(
        f"environment variable key {ref['key']} not found in file {ref['path']} of volume "
        f"{ref['volumeName']}"
    )
