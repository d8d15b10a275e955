"""Validation of a whole PodSpec and of pod templates.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cove.kube import field_errors as fe
from cove.kube import names
from cove.kube.field_errors import FieldError
from cove.kube.kinds._checks import legacy_ip, name_errors
from cove.kube.kinds._podspec.affinity import (
    validate_affinity,
    validate_spread,
    validate_tolerations,
)
from cove.kube.kinds._podspec.containers import (
    PodFacts,
    resource_claims,
    validate_containers,
    validate_ephemeral,
    validate_init_containers,
)
from cove.kube.kinds._podspec.resources import (
    is_hugepages,
    overcommit_allowed,
    pod_resource_name,
    validate_requirements,
)
from cove.kube.kinds._podspec.security import validate_pod_security_context
from cove.kube.kinds._podspec.volumes import validate_volumes
from cove.kube.metadata import validate_annotations, validate_labels
from cove.kube.quantity import Quantity, parse

__all__ = [
    "all_containers",
    "pod_annotations",
    "profiles_match",
    "validate_spec",
    "validate_template",
]

Errors = list[FieldError]
Doc = dict[str, Any]

_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_RESTART = ("Always", "OnFailure", "Never")
MIRROR = "kubernetes.io/config.mirror"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def all_containers(spec: Doc) -> Iterator[tuple[str, Doc]]:
    """Every container with its place: ``initContainers[0]``; in upstream's order of visits."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(key) or ()):
            yield f"{key}[{i}]", container


def _dns(errors: Errors, path: str, config: Doc | None, policy: str) -> None:
    if policy == "None":
        if config is None:
            errors.append(fe.required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            errors.append(
                fe.required(
                    f"{path}.nameservers",
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                )
            )
            return
    if config is None:
        return
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        errors.append(
            fe.invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers")
        )
    for i, server in enumerate(servers):
        legacy_ip(errors, f"{path}.nameservers[{i}]", server)
    if len(searches) > 32:
        errors.append(
            fe.invalid(f"{path}.searches", searches, "must not have more than 32 search paths")
        )
    if len(" ".join(searches)) > 2048:
        errors.append(
            fe.invalid(
                f"{path}.searches",
                searches,
                "must not have more than 2048 characters (including spaces) in the search list",
            )
        )
    for i, search in enumerate(searches):
        if search != ".":
            name_errors(
                errors,
                f"{path}.searches[{i}]",
                search.removesuffix("."),
                names.is_dns1123_subdomain_with_underscore,
            )
    for i, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(fe.required(f"{path}.options[{i}]", "must not be empty"))


def _host_network(errors: Errors, path: str, spec: Doc, *, pod: bool) -> None:
    for i, container in enumerate(spec.get("containers") or ()):
        for n, port in enumerate(container.get("ports") or ()):
            host, inner = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (pod or host) and host != inner:
                errors.append(
                    fe.invalid(
                        f"{path}.containers[{i}].ports[{n}].hostPort",
                        host,
                        "must match `containerPort` when `hostNetwork` is true",
                    )
                )


def _aggregate(spec: Doc, key: str) -> dict[str, Quantity]:
    """What the containers ask for together: sidecars add up, plain init containers overlap."""
    total: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get(key) or {}).items():
            total[name] = total[name] + parse(amount) if name in total else parse(amount)
    peak: dict[str, Quantity] = {}
    sidecars: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        own = {k: parse(v) for k, v in ((container.get("resources") or {}).get(key) or {}).items()}
        if container.get("restartPolicy") == "Always":
            for name, quantity in own.items():
                total[name] = total[name] + quantity if name in total else quantity
                sidecars[name] = sidecars[name] + quantity if name in sidecars else quantity
            own = sidecars
        else:
            own = {k: q + sidecars[k] if k in sidecars else q for k, q in own.items()}
        for name, quantity in own.items():
            peak[name] = max(peak[name], quantity) if name in peak else quantity
    for name, quantity in peak.items():
        total[name] = max(total[name], quantity) if name in total else quantity
    return total


def default_pod_resources(spec: Doc) -> None:
    """Requests (and huge page limits) of the pod as a whole, from its limits and its containers."""
    resources = spec.get("resources")
    if not resources or not (resources.get("limits") or resources.get("requests")):
        return
    limits, requests = dict(resources.get("limits") or {}), dict(resources.get("requests") or {})
    for name, quantity in _aggregate(spec, "limits").items():
        if is_hugepages(name) and name not in requests and name not in limits:
            limits[name] = str(quantity)
    if limits:
        resources["limits"] = limits
        for name, quantity in _aggregate(spec, "requests").items():
            if name not in requests and name in ("cpu", "memory") and overcommit_allowed(name):
                requests[name] = str(quantity)
        for name, amount in limits.items():
            if name not in requests and (name in ("cpu", "memory") or is_hugepages(name)):
                requests[name] = amount
    if requests:
        resources["requests"] = requests


def _pod_resources(errors: Errors, path: str, spec: Doc, claims: frozenset[str]) -> None:
    resources = spec["resources"]
    if (spec.get("os") or {}).get("name") == "windows":
        errors.append(fe.forbidden(path, "may not be set for a windows pod"))
        return
    if resources.get("claims") is not None:
        errors.append(
            fe.forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level")
        )
    validate_requirements(errors, path, resources, claims, pod_resource_name)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, quantity in sorted(_aggregate(spec, "requests").items()):
        if name in requests and quantity > parse(requests[name]):
            errors.append(
                fe.invalid(
                    f"{path}.requests[{name}]",
                    requests[name],
                    f"must be greater than or equal to aggregate container requests of {quantity}",
                )
            )
    for name, quantity in sorted(_aggregate(spec, "limits").items()):
        if is_hugepages(name) and name in limits and quantity > parse(limits[name]):
            errors.append(
                fe.invalid(
                    f"{path}.limits[{name}]",
                    limits[name],
                    f"must be greater than or equal to aggregate container limits of {quantity}",
                )
            )
    for i, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and parse(amount) > parse(limits[name]):
                errors.append(
                    fe.invalid(
                        f"{path}.containers[{i}][{name}].limits",
                        amount,
                        f"must be less than or equal to pod limits of {limits[name]}",
                    )
                )


def _windows_host_process(errors: Errors, path: str, spec: Doc) -> None:
    pod = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    total = hosted = 0
    for place, container in all_containers(spec):
        total += 1
        own = ((container.get("securityContext") or {}).get("windowsOptions") or {}).get(
            "hostProcess"
        )
        if pod is not None and own is not None and pod != own:
            errors.append(
                fe.invalid(
                    f"{path}.{place}.securityContext.windowsOptions.hostProcess",
                    own,
                    f"pod hostProcess value must be identical if both are specified, was {str(pod).lower()}",
                )
            )
        if own or (own is None and pod):
            hosted += 1
    if hosted:
        if hosted != total:
            errors.append(
                fe.invalid(
                    path,
                    "",
                    "If pod contains any hostProcess containers then all containers must be HostProcess containers",
                )
            )
        if not spec.get("hostNetwork"):
            errors.append(
                fe.invalid(
                    f"{path}.hostNetwork",
                    False,
                    "hostNetwork must be true if pod contains any hostProcess containers",
                )
            )


_WINDOWS_POD = (
    ("securityContext.appArmorProfile", "appArmorProfile"),
    ("securityContext.seLinuxOptions", "seLinuxOptions"),
    ("hostUsers", ""),
    ("hostPID", ""),
    ("hostIPC", ""),
    ("securityContext.seccompProfile", "seccompProfile"),
    ("securityContext.fsGroup", "fsGroup"),
    ("securityContext.fsGroupChangePolicy", "fsGroupChangePolicy"),
    ("securityContext.sysctls", "sysctls"),
    ("shareProcessNamespace", ""),
    ("securityContext.runAsUser", "runAsUser"),
    ("securityContext.runAsGroup", "runAsGroup"),
    ("securityContext.supplementalGroups", "supplementalGroups"),
    ("securityContext.supplementalGroupsPolicy", "supplementalGroupsPolicy"),
    ("securityContext.seLinuxChangePolicy", "seLinuxChangePolicy"),
)
_WINDOWS_CONTAINER = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def _os(errors: Errors, path: str, spec: Doc) -> None:
    name = spec["os"].get("name") or ""
    context = spec.get("securityContext") or {}
    if not name:
        errors.append(fe.required(f"{path}.os.name"))
    elif name == "linux":
        text = "windows options cannot be set for a linux pod"
        if context.get("windowsOptions") is not None:
            errors.append(fe.forbidden(f"{path}.securityContext.windowsOptions", text))
        errors += [
            fe.forbidden(f"{path}.{place}.securityContext.windowsOptions", text)
            for place, c in all_containers(spec)
            if (c.get("securityContext") or {}).get("windowsOptions") is not None
        ]
    elif name == "windows":
        text = "cannot be set for a windows pod"
        for told, key in _WINDOWS_POD:
            holder, field = (context, key) if key else (spec, told)
            value = holder.get(field)
            if value is not None and (value or field not in ("hostPID", "hostIPC", "sysctls")):
                errors.append(fe.forbidden(f"{path}.{told}", text))
        errors += [
            fe.forbidden(f"{path}.{place}.securityContext.{key}", text)
            for place, c in all_containers(spec)
            for key in _WINDOWS_CONTAINER
            if (c.get("securityContext") or {}).get(key) is not None
        ]
    else:
        errors.append(fe.not_supported(f"{path}.os", name, ("linux", "windows")))


def _gates(errors: Errors, path: str, gates: list[Doc]) -> None:
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name") or ""
        name_errors(errors, f"{path}[{i}]", name, names.is_qualified_name)
        if name in seen:
            errors.append(fe.duplicate(f"{path}[{i}]", name))
        seen.add(name)


def _host_users(errors: Errors, path: str, spec: Doc) -> None:
    text = "when `hostUsers` is false"
    for key, told in (
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ):
        if spec.get(key):
            errors.append(fe.forbidden(f"{path}.{told}", text))
    errors += [
        fe.forbidden(f"{path}.{place}.volumeDevices", text)
        for place, c in all_containers(spec)
        if c.get("volumeDevices")
    ]


def _hostname_override(errors: Errors, path: str, spec: Doc) -> None:
    at, value = f"{path}.hostnameOverride", spec["hostnameOverride"]
    if spec.get("setHostnameAsFQDN"):
        errors.append(fe.forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        errors.append(fe.forbidden(at, "may not be specified when hostNetwork is true"))
    if len(value) > 64:
        errors.append(fe.too_long(at, 64))
    name_errors(errors, at, value, names.is_dns1123_subdomain)


def _file_key_volumes(errors: Errors, path: str, spec: Doc) -> None:
    volumes = {v.get("name") or "": v for v in spec.get("volumes") or ()}
    for place, container in all_containers(spec):
        for i, variable in enumerate(container.get("env") or ()):
            reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if reference is None:
                continue
            at = f"{path}.{place}.env[{i}].valueFrom.fileKeyRef.volumeName"
            name = reference.get("volumeName") or ""
            if name not in volumes:
                errors.append(fe.not_found(at, name))
            elif volumes[name].get("emptyDir") is None:
                errors.append(fe.invalid(at, name, "referenced volume must be of type emptyDir"))


_NAMED = (
    ("serviceAccountName", names.is_dns1123_subdomain),
    ("nodeName", names.is_dns1123_subdomain),
)

# What most specs consist of: where there is nothing else, the rules of the rest are skipped.
_ORDINARY = frozenset(
    (
        "automountServiceAccountToken",
        "containers",
        "dnsPolicy",
        "enableServiceLinks",
        "imagePullSecrets",
        "nodeName",
        "preemptionPolicy",
        "priority",
        "restartPolicy",
        "schedulerName",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "tolerations",
        "volumes",
    )
)


def validate_spec(
    errors: Errors, path: str, spec: Doc, *, pod: Mapping[str, Any] | None = None
) -> None:
    """A PodSpec at ``path``; ``pod`` is the Pod's metadata, None in templates."""
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        errors.append(fe.required(f"{path}.terminationGracePeriodSeconds"))
    restart = spec.get("restartPolicy") or ""
    volumes = spec.get("volumes")
    claims = spec.get("resourceClaims")
    containers = spec.get("containers") or []
    policy = spec.get("dnsPolicy") or ""
    rare = (
        not spec.keys() <= _ORDINARY
        or policy == "None"
        or bool(spec.get("securityContext"))
        or any("securityContext" in c for c in containers)
    )
    facts = PodFacts(
        validate_volumes(
            errors,
            f"{path}.volumes",
            volumes,
            None if pod is None else pod.get("name") or "",
        )
        if volumes
        else {},
        frozenset(c["name"] for c in claims if c.get("name")) if claims else frozenset(),
        grace,
        restart,
        (spec.get("os") or {}).get("name", "") if spec.get("os") is not None else None,
        spec.get("hostUsers") is not False,
    )
    if claims:
        if pod is not None and MIRROR in (pod.get("annotations") or ()):
            errors.append(fe.forbidden("", "static pods do not support resource claims"))
        else:
            resource_claims(errors, f"{path}.resourceClaims", claims)
    validate_containers(errors, f"{path}.containers", containers, facts)
    if rare:
        init = spec.get("initContainers")
        if init:
            validate_init_containers(errors, f"{path}.initContainers", init, containers, facts)
        ephemeral = spec.get("ephemeralContainers")
        if ephemeral:
            validate_ephemeral(
                errors,
                f"{path}.ephemeralContainers",
                ephemeral,
                [*containers, *(init or ())],
                facts,
            )
        if spec.get("resources"):
            _pod_resources(errors, f"{path}.resources", spec, facts.claims)
        if spec.get("hostNetwork"):
            _host_network(errors, path, spec, pod=pod is not None)
    if restart not in _RESTART:
        at = f"{path}.restartPolicy"
        errors.append(fe.not_supported(at, restart, _RESTART) if restart else fe.required(at))
    if policy not in _DNS_POLICIES:
        at = f"{path}.dnsPolicy"
        errors.append(fe.not_supported(at, policy, _DNS_POLICIES) if policy else fe.required(at))
    if rare:
        _unusual(errors, path, spec, facts)
    for key, check in _NAMED:
        value = spec.get(key)
        if value:
            name_errors(errors, f"{path}.{key}", value, check)
    if rare:
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and not 1 <= deadline <= 2147483647:
            errors.append(
                fe.invalid(
                    f"{path}.activeDeadlineSeconds",
                    deadline,
                    names.inclusive_range_error(1, 2147483647),
                )
            )
        for key in ("hostname", "subdomain"):
            value = spec.get(key)
            if value:
                name_errors(errors, f"{path}.{key}", value, names.is_dns1123_label)
    if spec.get("tolerations"):
        validate_tolerations(errors, f"{path}.tolerations", spec["tolerations"])
    if rare:
        for i, alias in enumerate(spec.get("hostAliases") or ()):
            legacy_ip(errors, f"{path}.hostAliases[{i}].ip", alias.get("ip") or "")
            for n, name in enumerate(alias.get("hostnames") or ()):
                name_errors(
                    errors,
                    f"{path}.hostAliases[{i}].hostnames[{n}]",
                    name,
                    names.is_dns1123_subdomain,
                )
        for key in ("priorityClassName", "runtimeClassName"):
            value = spec.get(key)
            if value or (value is not None and key == "runtimeClassName"):
                name_errors(errors, f"{path}.{key}", value, names.is_dns1123_subdomain)
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in ("PreemptLowerPriority", "Never"):
        at = f"{path}.preemptionPolicy"
        errors.append(
            fe.not_supported(at, preemption, ("PreemptLowerPriority", "Never"))
            if preemption
            else fe.required(at)
        )
    if rare:
        if spec.get("overhead"):
            validate_requirements(errors, f"{path}.overhead", {"limits": spec["overhead"]}, ())
        if spec.get("os") is not None:
            _os(errors, path, spec)
    _file_key_volumes_if_any(errors, path, spec)


def _unusual(errors: Errors, path: str, spec: Doc, facts: PodFacts) -> None:
    """Where the pod may run, how it is isolated, how it sees the network."""
    policy = spec.get("dnsPolicy") or ""
    if spec.get("nodeSelector"):
        errors += validate_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    validate_pod_security_context(
        errors, f"{path}.securityContext", spec.get("securityContext") or {}, spec
    )
    if spec.get("affinity"):
        validate_affinity(errors, f"{path}.affinity", spec["affinity"])
    config = spec.get("dnsConfig")
    if config is not None or policy == "None":
        _dns(errors, f"{path}.dnsConfig", config, policy)
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        name_errors(
            errors,
            f"{path}.readinessGates[{i}].conditionType",
            gate.get("conditionType") or "",
            names.is_qualified_name,
        )
    if spec.get("schedulingGates"):
        _gates(errors, f"{path}.schedulingGates", spec["schedulingGates"])
    if spec.get("topologySpreadConstraints"):
        validate_spread(
            errors, f"{path}.topologySpreadConstraints", spec["topologySpreadConstraints"]
        )
    _windows_host_process_if_any(errors, path, spec)
    if not facts.host_users:
        _host_users(errors, path, spec)
    if spec.get("hostnameOverride") is not None:
        _hostname_override(errors, path, spec)


def _windows_host_process_if_any(errors: Errors, path: str, spec: Doc) -> None:
    for holder in (spec, *(container for _, container in all_containers(spec))):
        if (holder.get("securityContext") or {}).get("windowsOptions"):
            break
    else:
        return
    _windows_host_process(errors, path, spec)


def _file_key_volumes_if_any(errors: Errors, path: str, spec: Doc) -> None:
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            for variable in container.get("env") or ():
                if "fileKeyRef" in (variable.get("valueFrom") or ()):
                    return _file_key_volumes(errors, path, spec)
    return None


def _is_int32(text: str) -> bool:
    try:
        return text == str(int(text)) and -(1 << 31) <= int(text) < 1 << 31
    except ValueError:
        return False


def pod_annotations(errors: Errors, path: str, annotations: Mapping[str, str], spec: Doc) -> None:
    """Annotations with a meaning for pods."""
    if MIRROR in annotations and not spec.get("nodeName"):
        errors.append(
            fe.invalid(
                f"{path}[{MIRROR}]",
                annotations[MIRROR],
                "must set spec.nodeName if mirror pod annotation is set",
            )
        )
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not _is_int32(cost):
        errors.append(fe.invalid(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    for key in sorted(annotations):
        value = annotations[key]
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            if value.startswith("localhost/"):
                if ".." in value.removeprefix("localhost/").split("/"):
                    errors.append(
                        fe.invalid(
                            f"{path}.{key}",
                            value.removeprefix("localhost/"),
                            "must not contain '..'",
                        )
                    )
            elif value not in ("runtime/default", "docker/default", "unconfined"):
                errors.append(fe.invalid(f"{path}.{key}", value, "must be a valid seccomp profile"))
        elif key.startswith(APP_ARMOR):
            name = key.removeprefix(APP_ARMOR)
            if not any(c.get("name") == name for _, c in all_containers(spec)):
                errors.append(fe.invalid(f"{path}[{key}]", name, "container not found"))
            if value not in ("", "runtime/default", "unconfined") and not value.startswith(
                "localhost/"
            ):
                errors.append(
                    fe.invalid(f"{path}[{key}]", value, f'invalid AppArmor profile name: "{value}"')
                )


def _match(errors: Errors, path: str, what: str, annotation: str, profile: Doc) -> None:
    kind = profile.get("type")
    names_of = {
        "Unconfined": ("unconfined",),
        "RuntimeDefault": ("runtime/default", "docker/default"),
    }
    if kind == "Localhost":
        if not annotation.startswith("localhost/"):
            errors.append(
                fe.forbidden(f"{path}.type", f"{what} type in annotation and field must match")
            )
        elif annotation.removeprefix("localhost/") != profile.get("localhostProfile"):
            errors.append(
                fe.forbidden(
                    f"{path}.localhostProfile", f"{what} profile in annotation and field must match"
                )
            )
    elif kind in names_of and annotation not in names_of[kind]:
        errors.append(
            fe.forbidden(f"{path}.type", f"{what} type in annotation and field must match")
        )


def profiles_match(errors: Errors, path: str, annotations: Mapping[str, str], spec: Doc) -> None:
    """Where seccomp or AppArmor is said in an annotation and in a field, both must agree."""
    pod = spec.get("securityContext") or {}
    if _SECCOMP_POD in annotations and pod.get("seccompProfile"):
        _match(
            errors,
            f"{path}.securityContext.seccompProfile",
            "seccomp",
            annotations[_SECCOMP_POD],
            pod["seccompProfile"],
        )
    for what, prefix, key, inherited in (
        ("seccomp", _SECCOMP_CONTAINER, "seccompProfile", None),
        ("apparmor", APP_ARMOR, "appArmorProfile", pod.get("appArmorProfile")),
    ):
        for place, container in all_containers(spec):
            annotation = annotations.get(prefix + (container.get("name") or ""))
            profile = (container.get("securityContext") or {}).get(key) or inherited
            if annotation is not None and profile:
                _match(errors, f"{path}.{place}.securityContext.{key}", what, annotation, profile)


def validate_template(errors: Errors, path: str, template: Doc) -> None:
    """A PodTemplateSpec."""
    meta = template.get("metadata") or {}
    spec = template.get("spec") or {}
    if meta.get("labels"):
        errors += validate_labels(meta["labels"], f"{path}.labels")
    annotations = meta.get("annotations")
    if annotations:
        errors += validate_annotations(annotations, f"{path}.annotations")
        pod_annotations(errors, f"{path}.annotations", annotations, spec)
    validate_spec(errors, f"{path}.spec", spec)
    if annotations:
        profiles_match(errors, f"{path}.spec", annotations, spec)
    if spec.get("ephemeralContainers"):
        errors.append(
            fe.forbidden(
                f"{path}.spec.ephemeralContainers",
                "ephemeral containers not allowed in pod template",
            )
        )
