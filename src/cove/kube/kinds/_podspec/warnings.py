"""What the API server warns about in a pod's spec: things that are allowed and seldom meant.

Source: ``pkg/api/pod/warnings.go``; Warning headers are KEP-1693.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from cove.kube.kinds._podspec.spec import APP_ARMOR, all_containers
from cove.kube.kinds._podspec.token import TOKEN_SOURCE
from cove.kube.names import is_dns1123_label
from cove.kube.quantity import parse

__all__ = ["name_warnings", "pod_warnings", "spec_warnings"]

Doc = dict[str, Any]

_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
    "security.alpha.kubernetes.io/unsafe-sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def name_warnings(name: str) -> list[str]:
    """A Pod's or workload's name that hosts and DNS will not like."""
    faults = is_dns1123_label(name) if name else []
    if not faults:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
        f"behavior; a DNS label is recommended: [{' '.join(faults)}]"
    ]


def pod_warnings(pod: Doc) -> list[str]:
    """Warnings about a Pod's spec and annotations."""
    return spec_warnings("", pod.get("metadata") or {}, pod.get("spec") or {})


def spec_warnings(path: str, meta: Doc, spec: Doc) -> list[str]:
    """Warnings about a pod template at ``path`` (``spec.template``), or a Pod at ""."""
    dot = f"{path}." if path else ""
    at = f"{dot}spec"
    annotations = meta.get("annotations") or {}
    out = _placement(at, spec) if spec.keys() & _PLACEMENT else []
    if annotations:
        out += [
            f"{dot}metadata.annotations[{key}]: {text}"
            for key, text in _ANNOTATIONS.items()
            if key in annotations
        ]
    volumes = spec.get("volumes")
    if volumes:
        out += _volumes(at, volumes)
    for key, what in (("hostAliases", "ip"), ("imagePullSecrets", "name")):
        if spec.get(key):
            out += _repeated(f"{at}.{key}", spec[key], what)
    for i, item in enumerate(spec.get("imagePullSecrets") or ()):
        if not item.get("name"):
            out.append(f'{at}.imagePullSecrets[{i}].name: invalid empty name ""')
    overhead = spec.get("overhead")
    if overhead:
        out += _fractions(f"{at}.overhead", overhead)
    context = spec.get("securityContext") or {}
    if _SECCOMP_POD in annotations and not context.get("seccompProfile"):
        out.append(
            f"{dot}metadata.annotations[{_SECCOMP_POD}]: non-functional in v1.27+; "
            'use the "seccompProfile" field instead'
        )
    ports: list[Doc] = []
    for place, container in all_containers(spec):
        out += _container(
            f"{at}.{place}", dot, container, annotations, context, template=bool(path)
        )
        ports += container.get("ports") or ()
    # One port alone is in nobody's way.
    if len(ports) > 1 or (ports and ports[0].get("hostIP")):
        out += _ports(at, spec)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        out.append(
            f"{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and "
            "will be treated as 1"
        )
    affinity = spec.get("affinity")
    if affinity:
        out += _null_selectors(f"{at}.affinity", affinity)
    for i, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        out += ip_warnings(f"{at}.dnsConfig.nameservers[{i}]", server)
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        out += ip_warnings(f"{at}.hostAliases[{i}].ip", alias.get("ip") or "")
    return out


_PLACEMENT = frozenset(("nodeSelector", "affinity", "topologySpreadConstraints"))


def _placement(at: str, spec: Doc) -> list[str]:
    """Where the pod may run."""
    out: list[str] = []
    selector = spec.get("nodeSelector")
    if selector:
        out += [f"{at}.nodeSelector[{k}]: {_LABELS[k]}" for k in selector if k in _LABELS]
    affinity = spec.get("affinity")
    if affinity:
        out += _node_affinity(f"{at}.affinity.nodeAffinity", affinity.get("nodeAffinity") or {})
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        key = constraint.get("topologyKey")
        place = f"{at}.topologySpreadConstraints[{i}]"
        if key in _LABELS:
            out.append(f"{place}.topologyKey: {key} is {_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            out.append(f"{place}.labelSelector: a null labelSelector results in matching no pod")
    return out


def _repeated(at: str, items: Sequence[Doc], what: str) -> list[str]:
    """Items that say the same as one before them."""
    out: list[str] = []
    seen: set[str] = set()
    for i, item in enumerate(items):
        value = item.get(what) or ""
        if value in seen:
            out.append(f'{at}[{i}].{what}: duplicate {what} "{value}"')
        seen.add(value)
    return out


def ip_warnings(path: str, value: str) -> list[str]:
    """An address that is right, but not in its canonical form."""
    if ":" not in value:
        return []
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return []
    if str(address) == value:
        return []
    return [f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{address}")']


def cidr_warnings(path: str, value: str) -> list[str]:
    """A network that is right, but not in its canonical form."""
    try:
        interface = ipaddress.ip_interface(value)
    except ValueError:
        return []
    network = interface.network
    if interface.ip != network.network_address:
        return [
            f'{path}: CIDR value "{value}" is ambiguous in this context (should be "{network}" or '
            f'"{interface.ip}/{network.max_prefixlen}"?)'
        ]
    if str(network) != value:
        return [
            f'{path}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{network}")'
        ]
    return []


def _node_affinity(path: str, affinity: Doc) -> Iterator[str]:
    required = affinity.get(_REQUIRED) or {}
    for i, term in enumerate(required.get("nodeSelectorTerms") or ()):
        yield from _node_term(f"{path}.{_REQUIRED}.nodeSelectorTerms[{i}]", term, checked=True)
    for i, item in enumerate(affinity.get(_PREFERRED) or ()):
        yield from _node_term(
            f"{path}.{_PREFERRED}[{i}].preference", item.get("preference") or {}, checked=False
        )


def _node_term(path: str, term: Doc, *, checked: bool) -> Iterator[str]:
    from cove.kube.names import is_label_value

    for i, expression in enumerate(term.get("matchExpressions") or ()):
        key = expression.get("key")
        if key in _LABELS:
            yield f"{path}.matchExpressions[{i}].key: {key} is {_LABELS[key]}"
        if not checked:
            for n, value in enumerate(expression.get("values") or ()):
                for fault in is_label_value(value):
                    yield (f"{path}.matchExpressions[{i}].values[{n}]: {value} is invalid, {fault}")


def _null_selectors(path: str, affinity: Doc) -> Iterator[str]:
    text = "a null labelSelector results in matching no pod"
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                yield f"{path}.{kind}.{_REQUIRED}[{i}].labelSelector: {text}"
        for i, item in enumerate(pods.get(_PREFERRED) or ()):
            if (item.get("podAffinityTerm") or {}).get("labelSelector") is None:
                yield f"{path}.{kind}.{_PREFERRED}[{i}].podAffinityTerm.labelSelector: {text}"


def _fractions(path: str, amounts: Doc) -> Iterator[str]:
    for name in ("memory", "ephemeral-storage"):
        amount = amounts.get(name)
        if amount is not None and amount[-1] in "mnu" and parse(amount).milli % 1000:
            yield (
                f'{path}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'
            )


def _container(
    path: str, dot: str, container: Doc, annotations: Doc, pod: Doc, *, template: bool
) -> list[str]:
    out: list[str] = []
    if annotations:
        own = container.get("securityContext") or {}
        name = container.get("name") or ""
        key = _SECCOMP_CONTAINER + name
        if key in annotations and not own.get("seccompProfile"):
            out.append(
                f"{dot}metadata.annotations[{key}]: non-functional in v1.27+; "
                'use the "seccompProfile" field instead'
            )
        key = APP_ARMOR + name
        if template and key in annotations and not own.get("appArmorProfile"):
            if pod.get("appArmorProfile") is None:
                out.append(
                    f"{dot}metadata.annotations[{key}]: deprecated since v1.30; "
                    'use the "appArmorProfile" field instead'
                )
    resources = container.get("resources")
    if resources:
        # Upstream tells memory's limit and request before ephemeral-storage's.
        texts = [
            (name, kind, text)
            for kind in ("limits", "requests")
            for text in _fractions(f"{path}.resources.{kind}", resources.get(kind) or {})
            for name in (("memory" if "[memory]" in text else "storage"),)
        ]
        out += [text for _, _, text in sorted(texts, key=lambda x: (x[0], x[1]))]
    env = container.get("env")
    if env and len(env) > 1:
        seen: set[str] = set()
        for i, variable in enumerate(env):
            name, value = variable.get("name") or "", variable.get("value") or ""
            if name not in seen:
                seen.add(name)
                continue
            reference = f"$({name})"
            if variable.get("valueFrom") or value == reference or reference not in value:
                out.append(
                    f'{path}.env[{i}]: hides previous definition of "{name}", which may be dropped '
                    "when using apply"
                )
    return out


def _ports(path: str, spec: Doc) -> list[str]:
    out: list[str] = []
    known: dict[tuple[int, str], list[tuple[str, Doc]]] = {}
    by_name: dict[str, str] = {}
    named: list[str] = []
    for place, container in all_containers(spec):
        for i, port in enumerate(container.get("ports") or ()):
            at = f"{path}.{place}.ports[{i}]"
            ip, host = port.get("hostIP") or "", port.get("hostPort") or 0
            if ip and not host:
                shown = (
                    f"{{Name:{port.get('name') or ''} HostPort:0 "
                    f"ContainerPort:{port.get('containerPort') or 0} "
                    f"Protocol:{port.get('protocol') or ''} HostIP:{ip}}}"
                )
                out.append(f"{at}: hostIP set without hostPort: {shown}")
            others = known.setdefault(
                (port.get("containerPort") or 0, port.get("protocol") or ""), []
            )
            for where, other in others:
                other_ip, other_host = other.get("hostIP") or "", other.get("hostPort") or 0
                if ip == other_ip and host == other_host:
                    out.append(f"{at}: duplicate port definition with {where}")
                elif not host or not other_host:
                    out.append(f"{at}: overlapping port definition with {where}")
                elif host == other_host and bool(ip) != bool(other_ip):
                    out.append(f"{at}: dangerously ambiguous port definition with {where}")
            others.append((at, port))
            name = port.get("name")
            if name:
                first = by_name.setdefault(name, at)
                if first != at:
                    named.append(
                        f'{at}: duplicate port name "{name}" with {first}, services and probes that '
                        f"select ports by name will use {first}"
                    )
    return out + named


def _volumes(at: str, volumes: Sequence[Doc]) -> list[str]:
    out: list[str] = []
    for i, volume in enumerate(volumes):
        out += [
            f"{at}.volumes[{i}].{'storageOS' if key == 'storageos' else key}: {_VOLUMES[key]}"
            for key in volume
            if key in _VOLUMES
        ]
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template:
            from cove.kube.kinds.core.persistentvolumeclaim import claim_warnings

            out += claim_warnings(
                f"{at}.volumes[{i}].ephemeral.volumeClaimTemplate.spec", template.get("spec") or {}
            )
    for volume in volumes:
        out += _overlaps(volume)
    return out


def _items(source: Doc, what: str) -> list[tuple[str, str]]:
    return [(item.get("path") or "", what) for item in source.get("items") or ()]


def _paths(projection: Doc) -> list[tuple[str, str]]:
    for key, what in (("configMap", "ConfigMap"), ("secret", "Secret")):
        source = projection.get(key)
        if source and source.get("items"):
            return _items(source, f'{what} "{source.get("name") or ""}"')
    source = projection.get("downwardAPI")
    if source and source.get("items"):
        return _items(source, "DownwardAPI")
    source = projection.get("serviceAccountToken")
    if source is not None:
        return [(source.get("path") or "", "ServiceAccountToken")]
    source = projection.get("clusterTrustBundle")
    if source is not None:
        name = source.get("name") or source.get("signerName") or ""
        return [(source.get("path") or "", f'ClusterTrustBundle "{name}"')]
    source = projection.get("podCertificate") or {}
    return [
        (source[key], what)
        for key, what in (
            ("certificateChainPath", "PodCertificate chain"),
            ("keyPath", "PodCertificate key"),
            ("credentialBundlePath", "PodCertificate credential bundle"),
        )
        if source.get(key)
    ]


def _overlaps(volume: Doc) -> Iterator[str]:
    name = volume.get("name") or ""
    for key, what, id_ in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
        ("downwardAPI", "DownwardAPI", ""),
    ):
        source = volume.get(key)
        if source and source.get("items"):
            told = f'{what} "{source.get(id_) or ""}"' if id_ else what
            for text in _collisions(_items(source, "")):
                yield f'volume "{name}" ({told}): overlapping paths: {text}'
    projected = volume.get("projected")
    if projected is not None and projected != TOKEN_SOURCE:
        paths: list[tuple[str, str]] = []
        for projection in projected.get("sources") or ():
            if not projection:
                yield f'volume "{name}" (Projected) has no sources provided'
            paths += _paths(projection)
        for text in _collisions(paths):
            yield f'volume "{name}" (Projected): overlapping paths: {text}'


def _collisions(paths: list[tuple[str, str]]) -> Iterator[str]:
    def told(item: tuple[str, str]) -> str:
        return f'"{item[0]}" ({item[1]})' if item[1] else f'"{item[0]}"'

    seen: list[tuple[str, str]] = []
    for path, source in paths:
        item = (path.rstrip("/"), source)
        if item[0]:
            for other in seen:
                a, b = f"{other[0]}/", f"{item[0]}/"
                if other[0] and (a.startswith(b) or b.startswith(a)):
                    yield f"{told(item)} with {told(other)}"
        seen.append(item)
